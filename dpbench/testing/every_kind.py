"""Promises of every kind of plugin: registration, hyperparameters, manners in its process."""

from __future__ import annotations

import json
import random

import numpy as np
import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.api.checks import class_problems
from dpbench.executors.state import ProcessState, seed_everything
from dpbench.testing.checks import KINDS, Figures, NotRun, checking, require
from dpbench.testing.measure import Measured, measured
from dpbench.testing.subject import Subject
from dpbench.testing.tensors import first_difference

__all__ = ["MOST_GIB", "MOST_SECONDS"]

MOST_GIB = 1.0
"""Memory that the kit's small piece of work may take beyond what it finds."""
MOST_SECONDS = 60.0
"""CPU time of the same: far more than the built-ins take."""
WORKERS = tuple(kind for kind in KINDS if kind not in ("dataset", "executor"))
"""Kinds that get a context to work in."""
SEED = 11


@checking(*KINDS)
def can_be_registered(subject: Subject) -> None:
    """Base class, attributes, signatures and names are what the registry accepts."""
    require(not (problems := list(class_problems(subject.cls, subject.base))), "; ".join(problems))


@checking(*KINDS)
def hyperparameters_survive_json(subject: Subject) -> None:
    """Hyperparameters written as JSON, as keys and rows hold them, read back the same."""
    written = json.dumps(subject.params.model_dump(mode="json"), allow_nan=False)
    again = type(subject.params).model_validate(json.loads(written))
    require(again == subject.params, f"they read back as {again!r}")


@checking(*(kind for kind in KINDS if kind != "executor"))
def repeats_under_a_seed(subject: Subject) -> None:
    """The same seed gives the same result, whatever the process-wide generators stand at."""
    found = []
    for seed in (1, 2):
        seed_everything(seed)
        found.append(subject.work(Context(SEED)))
    if difference := first_difference(found[0], found[1]):
        require(False, f"{difference} differs: draw all randomness from the context")


@checking(*(kind for kind in KINDS if kind != "executor"))
def leaves_global_randomness_alone(subject: Subject) -> None:
    """The process-wide generators of torch, numpy and Python are not seeded."""
    ends = []
    for seed in (1, 2):
        seed_everything(seed)
        subject.work(Context(SEED))
        ends.append(_stands())
    same = [name for name, state in ends[0].items() if state == ends[1][name]]
    require(not same, f"it seeds the global generator of {', '.join(same)}")


def _stands() -> dict[str, str]:
    return {
        "torch": str(torch.rand(3)),
        "numpy": str(np.random.random(3)),  # the global one is what is asked
        "Python": str([random.random() for _ in range(3)]),
    }


@checking(*(kind for kind in KINDS if kind != "executor"))
def leaves_the_process_as_it_was(subject: Subject) -> None:
    """Default dtype and device, threads, gradients, environment and libraries stay as they were."""
    state = ProcessState()
    subject.work(Context(SEED))
    changed = state.restore()
    require(not changed, f"it changes {', '.join(changed)}")


@checking(*WORKERS)
def leaves_what_it_is_lent(subject: Subject) -> None:
    """Tensors that it is given are not changed in place."""
    subject = subject.anew()
    before = {name: tensor.clone() for name, tensor in subject.lent().items()}
    subject.work(Context(SEED))
    if difference := first_difference(before, subject.lent()):
        require(False, f"{difference} is changed in place: work on a copy")


@checking(*WORKERS)
def reports_progress_in_order(subject: Subject) -> None:
    """Reported progress lies in [0, 1] and does not fall."""
    seen: list[float] = []
    subject.work(Context(SEED, on_progress=seen.append))
    if not seen:
        raise NotRun("it reports no progress")
    require(all(0 <= part <= 1 for part in seen), f"it reports {min(seen):g} to {max(seen):g}")
    require(seen == sorted(seen), "its progress falls")


class _Stop(BaseException):
    """Stands for Ctrl-C: nothing that a plugin may catch."""


@checking(*WORKERS)
def stops_when_interrupted(subject: Subject) -> None:
    """An interruption while it reports progress ends its work."""
    asked = 0

    def interrupt(_fraction: float) -> None:
        nonlocal asked
        asked += 1
        raise _Stop

    try:
        subject.work(Context(SEED, on_progress=interrupt))
    except _Stop:
        return
    if not asked:
        raise NotRun("it reports no progress, so that nothing can interrupt it there")
    require(False, "it goes on after an interruption: catch Exception, not BaseException")


@checking(*WORKERS)
def computes_where_it_is_told(subject: Subject) -> None:
    """On a CUDA device it gives what it gives on the CPU: finite, same shapes, on the CPU."""
    if not torch.cuda.is_available():
        raise NotRun("there is no CUDA device here")
    here = subject.work(Context(SEED))
    there = subject.work(Context(SEED, torch.device("cuda")))
    require(list(here) == list(there), "it gives other tensors on a CUDA device")
    for name, tensor in there.items():
        require(tensor.device.type == "cpu", f"{name} is left on {tensor.device}")
        require(tensor.shape == here[name].shape, f"{name} has another shape")
        require(_finite(tensor), f"{name} is not finite")


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


@checking(*WORKERS)
def takes_moderate_time_and_memory(subject: Subject) -> Figures:
    """The kit's small piece of work takes under 60 s of CPU time and 1 GiB of memory."""
    with measured() as found:
        subject.work(Context(SEED))
    return _moderate(found)


def _moderate(found: Measured) -> Figures:
    require(found.gib <= MOST_GIB, f"it takes {found.gib:.1f} GiB for a small piece of work")
    require(found.seconds <= MOST_SECONDS, f"it takes {found.seconds:.0f} s of CPU time for it")
    return {"CPU seconds": found.seconds, "GiB": found.gib}
