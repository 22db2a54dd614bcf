"""The reference engine: one lane's private gradient as Opacus computes it.

Same interface as :class:`dpbench.privacy.lanes.DPSGDLanes`, so a training loop
written for lanes runs on either; slow, and there to be compared with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dpbench.privacy.dp_sgd import PerSampleLoss, PrivateGradient
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import Activation, LaneBuffer
from dpbench.privacy.lanes import LaneSchedule, Traces

__all__ = ["LinearStack", "ReferenceLane", "activate"]


def activate(activation: Activation, x: Tensor) -> Tensor:
    """Apply ``activation`` out of place, for autograd."""
    if activation.name == "leaky_relu":
        return nn.functional.leaky_relu(x, activation.slope)
    if activation.name == "tanh":
        return x.tanh()
    return activation.scale * (activation.temperature * x).sigmoid() - activation.offset


class LinearStack(nn.Module):
    """Linear layers with an activation between them; ``linears`` in buffer order."""

    def __init__(self, sizes: Sequence[int], activation: Activation) -> None:
        super().__init__()
        pairs = itertools.pairwise(sizes)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self._activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for k, linear in enumerate(self.linears):
            x = linear(x if k == 0 else activate(self._activation, x))
        return x


class ReferenceLane:
    """One lane whose gradients come from Opacus's ``GradSampleModule``.

    ``linears`` are ``module``'s layers in the order of ``params``; before each
    gradient they take over the values of ``params``'s only lane. ``randomness`` and
    ``labelled`` are those of :class:`~dpbench.privacy.dp_sgd.PrivateGradient`.
    """

    def __init__(
        self,
        params: LaneBuffer,
        private: PrivateLatents,
        schedule: LaneSchedule,
        module: nn.Module,
        linears: Sequence[nn.Linear],
        loss: PerSampleLoss,
        name: str = "dp-sgd",
        view: Callable[[int, Tensor], Tensor] | None = None,
        randomness: int = 0,
        labelled: bool = False,
    ) -> None:
        self.step = 0
        self._params, self._grads, self._linears = params, params.like(), list(linears)
        self._steps = schedule.steps
        device = params.flat.device
        module.to(device)
        self._gradient = PrivateGradient(
            private,
            module,
            loss,
            sampling_rate=schedule.sampling_rate,
            steps=schedule.steps,
            clip=schedule.clip,
            engine="opacus",
            name=name,
            view=None if view is None else lambda latents: view(0, latents.to(device)),
            randomness=randomness,
            labelled=labelled,
        )

    @property
    def active(self) -> int:
        """1 while steps are left."""
        return int(self.step < self._steps)

    @property
    def key(self) -> tuple[int, ...]:
        """Nothing is captured here."""
        return ()

    @property
    def streams(self) -> list[torch.Generator]:
        """Nothing is captured here."""
        return []

    def begin(self) -> None:
        """Batches are drawn by :meth:`compute`."""

    def end(self) -> None:
        """Count the step."""
        self.step += 1

    def compute(self, traces: Traces) -> LaneBuffer:
        """Return the noisy mean gradient, ``[1, P]``; ``traces`` is not used."""
        with torch.no_grad():
            for k, linear in enumerate(self._linears):
                linear.weight.copy_(self._params.weights[k][0].T)
                linear.bias.copy_(self._params.biases[k][0, 0])
        self._gradient.step()
        for k, linear in enumerate(self._linears):
            assert linear.weight.grad is not None and linear.bias.grad is not None
            self._grads.weights[k][0] = linear.weight.grad.T
            self._grads.biases[k][0, 0] = linear.bias.grad
        return self._grads
