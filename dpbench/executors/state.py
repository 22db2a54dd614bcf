"""What a task may change in its process and must not: read, compared, put back."""

from __future__ import annotations

import operator
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["ProcessState", "seed_everything"]

#: Where a patched function would reach every later task: these, and all of dpbench.
PATCHABLE = (
    "builtins", "math", "numpy", "numpy.linalg", "numpy.random", "torch", "torch.linalg",
    "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.optim",
)  # fmt: skip


#: What importing torch's compiler does to a process, which the first optimiser brings about.
COMPILER_CACHE, COMPILER_WRAPS = "TORCHINDUCTOR_CACHE_DIR", "torch.manual_seed"


@dataclass(frozen=True)
class _Setting:
    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _set_device(device: torch.device) -> None:
    # The CPU is what torch falls back to; naming it would slow every call down.
    torch.set_default_device(None if device.type == "cpu" else device)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _precisions() -> tuple[str, ...]:
    cudnn: Any = torch.backends.cudnn
    return torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision


def _set_precisions(values: tuple[str, ...]) -> None:
    cudnn: Any = torch.backends.cudnn
    torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision = values


def _determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _backends() -> tuple[bool, ...]:
    mkldnn: Any = torch.backends.mkldnn
    cudnn: Any = torch.backends.cudnn
    return mkldnn.enabled, cudnn.enabled, cudnn.benchmark, cudnn.deterministic


def _set_backends(values: tuple[bool, ...]) -> None:
    mkldnn: Any = torch.backends.mkldnn
    cudnn: Any = torch.backends.cudnn
    mkldnn.enabled, cudnn.enabled, cudnn.benchmark, cudnn.deterministic = values


def _autocast() -> tuple[bool, ...]:
    return tuple(map(torch.is_autocast_enabled, ("cpu", "cuda")))


def _set_autocast(values: tuple[bool, ...]) -> None:
    for device, value in zip(("cpu", "cuda"), values, strict=True):
        torch.set_autocast_enabled(device, value)


def _flushes_denormals() -> bool:
    tiny = torch.tensor(1e-310, dtype=torch.float64, device="cpu")
    return (tiny * 1).item() == 0.0


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not signal.getsignal(number):
            signal.signal(number, handler)


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


SETTINGS = (
    _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting("default device", torch.get_default_device, _set_device),
    _Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
    _Setting("inference mode", torch.is_inference_mode_enabled, lambda _: None),  # for good
    _Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting(
        "deterministic algorithms",
        _determinism,
        lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
    ),
    _Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Setting("precision", _precisions, _set_precisions),
    _Setting("backends", _backends, _set_backends),
    _Setting("autocast", _autocast, _set_autocast),
    _Setting("denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    _Setting("numpy's errors", np.geterr, lambda value: np.seterr(**value)),
    _Setting("working directory", os.getcwd, os.chdir),
    _Setting("environment", lambda: dict(os.environ), _set_environment),
    _Setting("import path", lambda: list(sys.path), _set_path),
    _Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting("signal handlers", _handlers, _set_handlers),
)


class ProcessState:
    """How a process was when this was made; :meth:`restore` brings it back to that."""

    def __init__(self) -> None:
        self._values = [(setting, setting.read()) for setting in SETTINGS]
        self._filters = list(warnings.filters)
        self._random = (torch.get_rng_state(), random.getstate(), np.random.get_state())
        self._names = [(owner, dict(vars(owner))) for owner in _owners()]
        self._methods = set(vars(torch.Tensor))

    def restore(self) -> list[str]:
        """Put everything back; return the names of what a task had changed.

        What torch's compiler changes of itself is put back, too, and not named.
        """
        changed = []
        for setting, value in self._values:
            if _differs(setting, value):
                if not _adds_cache(setting, value):
                    changed.append(setting.name)
                setting.write(value)
        for owner, name, value in list(self._patched()):
            where = f"{getattr(owner, '__name__', owner)}.{name}"
            wrapped = getattr(vars(owner).get(name), "__wrapped__", None)
            if where != COMPILER_WRAPS or wrapped is not value:
                changed.append(where)
            setattr(owner, name, value)
        for name in set(vars(torch.Tensor)) - self._methods:  # above the method of a base
            changed.append(f"Tensor.{name}")
            delattr(torch.Tensor, name)
        _set_filters(self._filters)
        torch.set_rng_state(self._random[0])
        random.setstate(self._random[1])
        np.random.set_state(self._random[2])
        return changed

    def _patched(self) -> Iterator[tuple[Any, str, Any]]:
        for owner, names in self._names:
            now = vars(owner)
            if _begins_as(now, names):
                continue
            for name, value in names.items():
                if now.get(name) is not value and callable(value):
                    yield owner, name, value


def _begins_as(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Say quickly, for there are ten thousand names, whether all stand as they did."""
    if len(now) < len(before):
        return False
    same_values = all(map(operator.is_, before.values(), now.values()))
    return same_values and all(map(operator.eq, before, now))


def _differs(setting: _Setting, value: Any) -> bool:
    try:
        return bool(setting.read() != value)
    except OSError:  # the working directory is gone
        return True


def _adds_cache(setting: _Setting, before: Any) -> bool:
    """Say whether all that changed is that the compiler's cache has a place."""
    if setting.name != "environment" or COMPILER_CACHE in before:
        return False
    return bool({k: v for k, v in setting.read().items() if k != COMPILER_CACHE} == before)


def _owners() -> list[Any]:
    ours = [name for name in sys.modules if name == "dpbench" or name.startswith("dpbench.")]
    found = [sys.modules.get(name) for name in (*PATCHABLE, *ours)]
    modules = [value for value in vars(torch.nn).values() if isinstance(value, type)]
    return [*(module for module in found if module is not None), *modules, torch.Tensor]


def seed_everything(seed: int | None) -> None:
    """Start the process-wide random numbers anew: from ``seed``, or from the system's entropy."""
    fresh = int.from_bytes(os.urandom(8), "little") if seed is None else seed
    # Without CUDA torch would note each seed, with a traceback, for when there is a device.
    seed_torch = (
        torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed
    )
    seed_torch(fresh % 2**63)
    random.seed(fresh)
    np.random.seed(fresh % 2**32)
