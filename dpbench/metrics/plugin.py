"""The built-in metrics as plugins, registered like anyone's."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from dpbench.api import Column, Context, Metric, Params
from dpbench.hookspecs import hookimpl
from dpbench.metrics.classes import class_shares
from dpbench.metrics.frechet import frechet_distance
from dpbench.metrics.inception_score import inception_score
from dpbench.metrics.views import References, View

__all__ = ["ClassMetric", "FidMetric", "InceptionScoreMetric", "register_metrics"]


class FidMetric(Metric):
    """Fréchet distance to the protocol's reference, and to held-out test images."""

    name = "fid"
    columns: ClassVar = {
        "fid": Column("lower", digits=1, title="FID"),
        "fid_test": Column("lower", digits=1, title="FID, held-out"),
    }

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        statistics = generated.statistics
        return {
            "fid": frechet_distance(statistics, references.primary.statistics),
            "fid_test": frechet_distance(statistics, references.private_test.statistics),
        }


class InceptionScoreParams(Params):
    """``splits`` parts, shuffled with ``seed``."""

    splits: int = Field(default=10, ge=1)
    seed: int = Field(default=2020, ge=0, lt=2**32)


class InceptionScoreMetric(Metric):
    """Inception Score of the evaluator's logits."""

    name = "is"
    Params = InceptionScoreParams
    columns: ClassVar = {
        "is": Column("higher", low=1.0, digits=2, title="IS"),
        "is_std": Column("none", digits=2, title="IS std over splits"),
    }

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        mean, std = inception_score(generated.logits, self.params.splits, self.params.seed)
        return {"is": mean, "is_std": std}


class ClassMetric(Metric):
    """Share called private, and the share of the rarest private class among those."""

    name = "classes"
    columns: ClassVar = {
        "private_share": Column("higher", high=1.0, title="called private"),
        "min_class_share": Column("higher", high=1.0, title="rarest class"),
    }

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        shares = class_shares(references.label(generated), references.private_classes)
        return {"private_share": shares.private, "min_class_share": shares.smallest}


@hookimpl
def register_metrics(register: Callable[[type[Metric]], None]) -> None:
    for metric in (FidMetric, InceptionScoreMetric, ClassMetric):
        register(metric)
