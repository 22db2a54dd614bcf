"""Plugins that go wrong at a point and in a way that a test asks for.

The module is the entry point of a made-up distribution ``dpbench-hostile``.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from fakes import Brightness, LinearModel, LookExtractor, MeanGenerator, PixelEvaluator
from torch import Tensor, nn

from dpbench import hookimpl
from dpbench.api import (
    Column,
    Context,
    Evaluator,
    Extractor,
    Metric,
    MetricUnavailable,
    Params,
    PrivateGenerator,
    PublicModel,
)
from dpbench.errors import DpbenchError
from dpbench.metrics.views import References, View
from dpbench.privacy.handle import PrivateLatents


class Unspeakable(Exception):
    """Its message ends the process that asks for it."""

    def __str__(self) -> str:
        raise SystemExit(0)


def _raise(error: BaseException) -> None:
    raise error


#: Context managers that are entered for good.
HELD = contextlib.ExitStack()


def _recurse() -> None:
    _recurse()


RAISES: dict[str, Callable[[], object]] = {
    "exits": lambda: sys.exit(0),
    "interrupts": lambda: _raise(KeyboardInterrupt()),
    "closes": lambda: _raise(GeneratorExit()),
    "cancels": lambda: _raise(asyncio.CancelledError()),
    "stops": lambda: _raise(StopIteration()),
    "unspeakable": lambda: _raise(Unspeakable()),
    "surrogate": lambda: _raise(ValueError("\ud800 half a character")),
    "escapes": lambda: _raise(ValueError("\x1b[2J\x07\rall is \x9bwell\u202e")),
    "talks": lambda: _raise(ValueError("x" * 10**6)),
    "lines": lambda: _raise(DpbenchError("one\ntwo")),
    "refuses": lambda: _raise(DpbenchError("")),
    "lacks": lambda: _raise(MetricUnavailable("")),
    "recurses": _recurse,
    "gathers": lambda: _raise(BaseExceptionGroup("several", [KeyboardInterrupt()])),
}
LEAKS: dict[str, Callable[[], object]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(3),
    "no gradients": lambda: torch.set_grad_enabled(False),
    "inference": lambda: HELD.enter_context(torch.inference_mode()),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "mkldnn": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "function": lambda: setattr(nn.functional, "conv2d", nn.functional.linear),
    "method of a module": lambda: setattr(nn.Linear, "forward", lambda _self, x: 2 * x),
    "method of a tensor": lambda: setattr(torch.Tensor, "mean", torch.Tensor.sum),
    "numpy": lambda: setattr(np, "mean", np.sum),
    "builtin": lambda: setattr(builtins, "round", lambda *_: 0),
    "random numbers": lambda: (random.seed(1), np.random.seed(1), torch.manual_seed(1)),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "recursion": lambda: sys.setrecursionlimit(10**6),
    "signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="7"),
    "directory": lambda: os.chdir("/"),
    "output": lambda: setattr(sys, "stdout", None),
    "descriptors": lambda: os.closerange(1, 3),
}
ENDS: dict[str, Callable[[], object]] = {
    "leaves": lambda: os._exit(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "aborts": os.abort,
    "forks": lambda: subprocess.Popen(["sleep", "7654.5"], start_new_session=True),
    "doubles": os.fork,
    "prints": lambda: [print("x" * 10**6) for _ in range(100)],
}
MODES = {**RAISES, **LEAKS, **ENDS}


class Ways(Params):
    """Where it goes wrong, and how."""

    at: str = "nowhere"
    how: str = "exits"


def _meet(plugin: Any, point: str) -> None:
    if plugin.params.at == point:
        MODES[plugin.params.how]()


class HostileParams(Ways):
    """``Ways``, with what the plugins underneath want to know."""

    fault: str = "none"
    lane: str = "none"
    flag: str = ""
    shift: float = 0.0
    latent: int = 3
    fails: bool = False
    side: int = 4


class HostileModel(LinearModel):
    """Goes wrong at ``fit``, ``encode`` or ``decode``."""

    name = "hostile"
    Params = HostileParams  # type: ignore[assignment]

    def fit(self, images: Tensor, context: Context) -> None:
        _meet(self, "fit")
        super().fit(images, context)

    def encode(self, x: Tensor) -> Tensor:
        _meet(self, "encode")
        return super().encode(x)

    def decode(self, z: Tensor) -> Tensor:
        _meet(self, "decode")
        return super().decode(z)


class HostileExtractor(LookExtractor):
    """Goes wrong at ``extract``."""

    name = "hostile"
    label = "hostile"
    Params = HostileParams  # type: ignore[assignment]

    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        _meet(self, "extract")
        return super().extract(model, images, context)


class HostileGenerator(MeanGenerator):
    """Goes wrong at ``fit``, ``sample``, ``state`` or ``restore``."""

    name = "hostile"
    label = "HOSTILE"
    Params = HostileParams  # type: ignore[assignment]

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        _meet(self, "fit")
        super().fit(private, public, context)

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        _meet(self, "sample")
        return super().sample(count, rng)

    def state(self) -> dict[str, Tensor]:
        _meet(self, "state")
        return super().state()

    def restore(self, state: dict[str, Tensor]) -> None:
        _meet(self, "restore")
        super().restore(state)


class HostileMetric(Brightness):
    """Goes wrong at ``compute`` or ``picture``, or returns what is at ``RETURNS``."""

    name = "hostile"
    Params = HostileParams  # type: ignore[assignment]
    columns: ClassVar = {"gloom": Column("none", high=255)}

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        _meet(self, "compute")
        if self.params.at == "returns":
            return RETURNS[self.params.how]
        return {"gloom": super().compute(generated, references, context)["brightness"]}

    def picture(self, generated: View, references: References) -> Tensor | None:
        _meet(self, "picture")
        return PICTURES.get(self.params.how) if self.params.at == "shows" else None


RETURNS: dict[str, Any] = {
    "nothing": None,
    "text": {"gloom": "bright"},
    "no number": {"gloom": float("nan")},
    "complex": {"gloom": 1 + 2j},
    "others": {"darkness": 1.0},
    "tensors": {"gloom": torch.ones(3)},
    "nameless": {1: 2.0},
}
PICTURES: dict[str, Any] = {
    "text": "a picture",
    "floats": torch.ones(3, 4, 4),
    "flat": torch.zeros(9, dtype=torch.uint8),
}


class HostileEvaluator(PixelEvaluator):
    """Goes wrong at ``fit``, ``call`` or ``describe``."""

    name = "hostile"
    Params = HostileParams  # type: ignore[assignment]

    def fit(self, *arguments: Any) -> None:
        _meet(self, "fit")
        super().fit(*arguments)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        _meet(self, "call")
        return super().__call__(images)

    def describe(self) -> dict[str, Any]:
        _meet(self, "describe")
        return super().describe()


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    register(HostileModel)


@hookimpl
def register_extractors(register: Callable[[type[Extractor]], None]) -> None:
    register(HostileExtractor)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    register(HostileGenerator)


@hookimpl
def register_metrics(register: Callable[[type[Metric]], None]) -> None:
    register(HostileMetric)


@hookimpl
def register_evaluators(register: Callable[[type[Evaluator]], None]) -> None:
    register(HostileEvaluator)
