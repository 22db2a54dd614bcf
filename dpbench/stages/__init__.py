"""The stages: pure functions from store to store, each in a file of its own.

Each stage's task is a frozen value that knows what it reads, what it writes and how
it runs, so it can run in any process, on any machine that sees the store. A new
stage is one new file and one line in ``STAGES``.
"""

from __future__ import annotations

from dpbench.stages.data import DataKeys, load_part, save_partition
from dpbench.stages.evaluator import EvaluatorTask
from dpbench.stages.generator import GeneratorTask, Lane
from dpbench.stages.latents import LatentsTask
from dpbench.stages.public import PublicTask, decode
from dpbench.stages.references import ReferencesTask
from dpbench.stages.replay import ReplayTask
from dpbench.stages.score import ScoreTask, Source
from dpbench.stages.task import Task

__all__ = [
    "STAGES",
    "DataKeys",
    "EvaluatorTask",
    "GeneratorTask",
    "Lane",
    "LatentsTask",
    "PublicTask",
    "ReferencesTask",
    "ReplayTask",
    "ScoreTask",
    "Source",
    "Task",
    "decode",
    "load_part",
    "save_partition",
]

#: In the order in which a reader meets them.
STAGES: tuple[type[Task], ...] = (
    EvaluatorTask,
    ReferencesTask,
    PublicTask,
    LatentsTask,
    GeneratorTask,
    ReplayTask,
    ScoreTask,
)
