"""The four stages, and the evaluator beside them: pure functions from store to store.

Each takes a frozen task that holds the keys of what it reads and writes, so a
task can run in any process, on any machine that sees the store.
"""

from __future__ import annotations

from dpbench.api import Context
from dpbench.stages.data import load_partition, save_partition
from dpbench.stages.evaluator import run_evaluator
from dpbench.stages.generator import run_generator
from dpbench.stages.latents import run_latents
from dpbench.stages.public import decode, run_public
from dpbench.stages.score import run_score
from dpbench.stages.tasks import (
    EvaluatorTask,
    GeneratorTask,
    Lane,
    LatentsTask,
    PublicTask,
    ScoreTask,
    Source,
    Task,
    outputs,
)
from dpbench.store import Store

__all__ = [
    "EvaluatorTask",
    "GeneratorTask",
    "Lane",
    "LatentsTask",
    "PublicTask",
    "ScoreTask",
    "Source",
    "Task",
    "decode",
    "load_partition",
    "outputs",
    "run",
    "save_partition",
]


def run(task: Task, store: Store, context: Context) -> dict[str, str]:
    """Run any task; return failures by key (only generator tasks have several)."""
    if isinstance(task, GeneratorTask):
        return run_generator(task, store, context)
    if isinstance(task, EvaluatorTask):
        run_evaluator(task, store, context)
    elif isinstance(task, PublicTask):
        run_public(task, store, context)
    elif isinstance(task, LatentsTask):
        run_latents(task, store, context)
    else:
        run_score(task, store, context)
    return {}
