"""Evaluators: what turns images into features, trained on labelling images or released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.metrics.evaluators import Evaluator
from dpbench.metrics.evaluators.domain import DomainEvaluator, train_domain_classifier
from dpbench.metrics.evaluators.inception import load_inception
from dpbench.stages.data import load_part, part_id
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["EvaluatorTask", "load_evaluator"]


@dataclass(frozen=True)
class EvaluatorTask(Task):
    """Train an evaluator on labelling images, or load a released one.

    ``labelling`` and ``test`` are the keys of these parts; the latter only tells
    how accurate the trained one is.
    """

    key: str
    labelling: str
    test: str
    private_classes: tuple[int, ...]
    evaluator: str
    seed: int
    weights: str | None = None
    cache: str | None = None
    stage: ClassVar[str] = "evaluator"
    plural: ClassVar[str] = "evaluators"

    def reads(self) -> Sequence[ArtifactId]:
        return [part_id(self.labelling), part_id(self.test)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        tensors: dict[str, Tensor] = {}
        meta: dict[str, Any] = {"evaluator": self.evaluator}
        if self.evaluator == "domain":
            evaluator = train_domain_classifier(
                load_part(store, self.labelling),
                load_part(store, self.test),
                self.private_classes,
                context,
            )
            tensors = evaluator.state()
            meta["test_accuracy"] = evaluator.test_accuracy
        else:
            _inception(self.weights, self.cache)  # refuses what are not the released weights
            meta |= {"weights": self.weights, "cache": self.cache}
        store.save(self.stage, self.key, Artifact(meta, tensors))
        return {}


def _inception(weights: str | None, cache: str | None) -> Evaluator:
    where = Path(cache) if cache else Path.cwd()
    evaluator: Evaluator = load_inception(Path(weights) if weights else None, where)
    return evaluator


def load_evaluator(store: Store, key: str, device: torch.device) -> Evaluator:
    """Rebuild an evaluator from its artifact."""
    artifact = store.load("evaluator", key)
    if artifact.meta["evaluator"] == "inception":
        return _inception(artifact.meta["weights"], artifact.meta["cache"]).to(device)
    return DomainEvaluator.restore(artifact.tensors).to(device)
