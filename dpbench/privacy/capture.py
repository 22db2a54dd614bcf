"""The same step again and again: on a CUDA device, one captured graph.

A step of the lanes is some hundred small kernels; launching them one by one costs
more than running them. A CUDA graph replays them all with one launch, at the
price of fixed addresses: a step may read numbers that change only from
tensors that are overwritten in place, and must leave Python's state alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from dpbench.privacy.handle import PrivateLatents

__all__ = ["OFF_VARIABLE", "Body", "Capture", "Replay", "StepNumbers"]

OFF_VARIABLE = "DPBENCH_NO_CUDA_GRAPHS"
"""Set in the environment, steps are launched kernel by kernel."""

Body = Callable[[], None]
Capture = Callable[[Body], Body]
"""Turns a step into one that repeats it, without carrying it out."""


class Replay:
    """Carries out a step, by ``capture`` where that is given.

    The first step with a new ``key`` runs as it is (libraries allocate what a
    capture may not), the second is captured, all others replay it.
    """

    def __init__(self, capture: Capture | None = None) -> None:
        self._capture = capture
        self._key: Hashable = None
        self._replay: Body | None = None

    @classmethod
    def on(
        cls,
        device: torch.device,
        privates: Sequence[PrivateLatents],
        streams: Callable[[], Sequence[torch.Generator]],
    ) -> Replay:
        """Capture on a CUDA device; ``streams`` tells all generators that the step draws from.

        Not with a secure source, whose noise comes from the host, and not where an
        audit or a replay looks at every step.
        """
        plain = all(not (p._session.secure_rng or p._session.observed) for p in privates)
        if device.type != "cuda" or not plain or os.environ.get(OFF_VARIABLE):
            return cls()
        return cls(lambda body: _cuda_graph(body, device, streams()))

    @property
    def captures(self) -> bool:
        """Whether steps must keep shapes and addresses."""
        return self._capture is not None

    def run(self, key: Hashable, body: Body) -> None:
        """Carry out ``body``; ``key`` names all that is fixed when it is captured."""
        if self._capture is None:
            body()
        elif key != self._key:
            self._key, self._replay = key, None
            body()
        else:
            if self._replay is None:
                self._replay = self._captured(body)
            self._replay()

    def _captured(self, body: Body) -> Body:
        assert self._capture is not None
        try:
            return self._capture(body)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"a step cannot be captured ({reason}): it runs uncaptured", stacklevel=2)
            self._capture = None
            return body


def _cuda_graph(body: Body, device: torch.device, streams: Sequence[torch.Generator]) -> Body:
    graph = torch.cuda.CUDAGraph()
    for stream in streams:
        graph.register_generator_state(stream)
    # A stream of this device: the default one belongs to whichever captured first.
    with (
        torch.cuda.device(device),
        torch.cuda.graph(graph, stream=torch.cuda.Stream(device)),
    ):
        body()
    replay: Body = graph.replay
    return replay


class StepNumbers:
    """Numbers that differ from step to step, where a captured step finds them.

    For a captured step each name holds a tensor that :meth:`set` overwrites; else
    the numbers themselves, which is faster on a CPU.
    """

    def __init__(self, device: torch.device, captured: bool) -> None:
        self._device, self._captured = device, captured
        self._lists: dict[str, list[float]] = {}
        self._tensors: dict[str, Tensor] = {}

    def set(self, name: str, values: Sequence[float]) -> None:
        """Give ``name`` its numbers for the next step."""
        if not self._captured:
            self._lists[name] = list(values)
            return
        fresh = torch.tensor(values, dtype=torch.float32)
        known = self._tensors.get(name)
        if known is None or known.shape != fresh.shape:
            self._tensors[name] = fresh.to(self._device)
        else:
            known.copy_(fresh)

    def all(self, name: str) -> Sequence[float] | Tensor:
        """Return the numbers of ``name``: a list, or a tensor ``[n]``."""
        return self._tensors[name] if self._captured else self._lists[name]

    def per_lane(self, name: str) -> float | Tensor:
        """Return the numbers of ``name``, ``[n, 1, 1]``; a float where all are the same."""
        if self._captured:
            return self._tensors[name].view(-1, 1, 1)
        values = self._lists[name]
        if all(value == values[0] for value in values):
            return values[0]
        return torch.tensor(values, device=self._device).view(-1, 1, 1)

    def one(self, name: str) -> float | Tensor:
        """Return the only number of ``name``: a float, or a tensor without dimensions."""
        return self._tensors[name][0] if self._captured else self._lists[name][0]
