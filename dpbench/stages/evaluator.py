"""Evaluators: what turns images into features, trained on labelling images or released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dpbench import plugins
from dpbench.api import Context, Evaluator
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.stages.data import load_part, part_id
from dpbench.stages.judge import judge_evaluator
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["EvaluatorTask", "load_evaluator"]

#: What an evaluator must know of itself when it is ready.
ATTRIBUTES = ("weights_sha256", "feature_dim", "classes", "batch_size", "network")


@dataclass(frozen=True)
class EvaluatorTask(Task):
    """Train an evaluator on labelling images, or read the released ``weights``.

    ``labelling`` and ``test`` are the keys of these parts; the latter only tells
    how accurate a trained one is.
    """

    key: str
    labelling: str
    test: str
    private_classes: tuple[int, ...]
    evaluator: Component
    seed: int
    weights: Path | None = None
    stage: ClassVar[str] = "evaluator"
    plural: ClassVar[str] = "evaluators"

    def reads(self) -> Sequence[ArtifactId]:
        return [part_id(self.labelling), part_id(self.test)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        evaluator = _make(self.evaluator.plugin, self.evaluator.params)
        warning = ""
        if self.weights is None:
            labelling, test = load_part(store, self.labelling), load_part(store, self.test)
            evaluator.fit(labelling, test, self.private_classes, context)
            if (accuracy := getattr(evaluator, "test_accuracy", None)) is not None:
                warning = judge_evaluator(accuracy, test.labels)
        else:
            evaluator.load(self.weights)  # refuses what are not the released weights
        _require_ready(evaluator)
        meta = {
            "evaluator": self.evaluator.plugin,
            "params": self.evaluator.params,
            "weights": None if self.weights is None else str(self.weights),
            "described": evaluator.describe(),
            "warning": warning,
        }
        tensors = evaluator.state() if self.weights is None else {}
        store.save(self.stage, self.key, Artifact(meta, tensors))
        return {}


def _make(plugin: str, params: dict[str, Any]) -> Evaluator:
    cls = plugins.registry().get("evaluator", plugin).cls
    evaluator: Evaluator = cls(cls.Params.model_validate(params))
    return evaluator


def _require_ready(evaluator: Evaluator) -> None:
    missing = [name for name in ATTRIBUTES if not hasattr(evaluator, name)]
    if missing:
        raise DpbenchError(
            f"evaluator {evaluator.name!r} is ready without {', '.join(missing)}: "
            "set it in the class, or where it learns or loads"
        )


def load_evaluator(store: Store, key: str, device: torch.device) -> Evaluator:
    """Rebuild an evaluator from its artifact."""
    artifact = store.load("evaluator", key)
    evaluator = _make(artifact.meta["evaluator"], artifact.meta["params"])
    if artifact.meta["weights"] is None:
        evaluator.restore(artifact.tensors)
    else:
        evaluator.load(Path(artifact.meta["weights"]))
    return evaluator.to(device)
