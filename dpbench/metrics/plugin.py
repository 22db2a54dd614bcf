"""The built-in metrics as plugins, registered like anyone's."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dpbench.api import (
    Column,
    Context,
    LabelledImages,
    Metric,
    MetricUnavailable,
    Params,
    to_float,
)
from dpbench.hookspecs import hookimpl
from dpbench.metrics.by_class import ByClassMetric
from dpbench.metrics.classes import class_shares
from dpbench.metrics.downstream import Accuracy, downstream_accuracy
from dpbench.metrics.field import FieldLiteMetric, FieldMetric
from dpbench.metrics.frechet import frechet_distance
from dpbench.metrics.inception_score import inception_score
from dpbench.metrics.kid import kernel_distance
from dpbench.metrics.leakage import (
    membership_advantage,
    membership_scores,
    nearest_neighbour_grid,
)
from dpbench.metrics.prdc import Manifold, prdc, subsample
from dpbench.metrics.views import References, View

__all__ = [
    "ClassMetric",
    "DownstreamMetric",
    "FidMetric",
    "InceptionScoreMetric",
    "KidMetric",
    "LeakageMetric",
    "PrdcMetric",
    "register_metrics",
]

Figures = dict[str, float]


class FidMetric(Metric):
    """Fréchet distance to the protocol's reference, and to held-out test images."""

    name = "fid"
    cost = 0.1
    columns: ClassVar = {
        "fid": Column("lower", digits=1, title="FID"),
        "fid_test": Column("lower", digits=1, title="FID, held-out"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        statistics = generated.statistics
        return {
            "fid": frechet_distance(statistics, references.primary.statistics),
            "fid_test": frechet_distance(statistics, references.private_test.statistics),
        }


class InceptionScoreParams(Params):
    """How the images are divided.

    Attributes:
        splits: parts of the images, over which the score is averaged.
        seed: of their order.
    """

    splits: int = Field(default=10, ge=1)
    seed: int = Field(default=2020, ge=0, lt=2**32)


class InceptionScoreMetric(Metric):
    """Inception Score of the evaluator's logits."""

    name = "is"
    cost = 0.1
    Params = InceptionScoreParams
    columns: ClassVar = {
        "is": Column("higher", low=1.0, digits=2, title="IS"),
        "is_std": Column("none", digits=2, title="IS std over splits"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        mean, std = inception_score(generated.logits, self.params.splits, self.params.seed)
        return {"is": mean, "is_std": std}


class KidParams(Params):
    """How the images are divided into disjoint subsets.

    Attributes:
        subset_size: images in a subset.
        seed: of their order.
    """

    subset_size: int = Field(default=500, ge=2)
    seed: int = 2020


class KidMetric(Metric):
    """Kernel distance to the protocol's reference, and its standard error."""

    name = "kid"
    cost = 0.5
    Params = KidParams
    check_params: ClassVar = {"subset_size": 50}
    columns: ClassVar = {
        "kid": Column("lower", low=float("-inf"), title="KID"),
        "kid_se": Column("none", title="KID std error"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        value, error = kernel_distance(
            generated.features,
            references.primary.features,
            self.params.subset_size,
            self.params.seed,
        )
        return {"kid": value, "kid_se": error}


class PrdcParams(Params):
    """How many neighbours count, among how many images.

    Attributes:
        k: neighbours of precision and recall.
        k_density: neighbours of density and coverage.
        samples: images compared, at most, on either side.
        seed: by which they are chosen.
    """

    k: int = Field(default=3, ge=1)
    k_density: int = Field(default=5, ge=1)
    samples: int = Field(default=5000, ge=2)
    seed: int = 2020


class PrdcMetric(Metric):
    """Precision, recall, density and coverage against the protocol's reference."""

    name = "prdc"
    cost = 2.0
    Params = PrdcParams
    columns: ClassVar = {
        "precision": Column("higher", high=1.0),
        "recall": Column("higher", high=1.0),
        "density": Column("higher"),
        "coverage": Column("higher", high=1.0),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        params, reference = self.params, references.primary
        count = min(params.samples, len(generated), len(reference))

        def manifold(features: Tensor) -> Manifold:
            chosen = subsample(features, count, params.seed)
            return Manifold.of(chosen, params.k, params.k_density)

        key = f"prdc {references.primary_name} {count} {params.model_dump_json()}"
        known = references.remember(key, lambda: manifold(reference.features))
        figures = prdc(manifold(generated.features), known, params.k_density)
        return {
            "precision": figures.precision,
            "recall": figures.recall,
            "density": figures.density,
            "coverage": figures.coverage,
        }


class ClassMetric(Metric):
    """Share called private, and the share of the rarest private class among those."""

    name = "classes"
    cost = 0.1
    columns: ClassVar = {
        "private_share": Column("higher", high=1.0, title="called private"),
        "min_class_share": Column("higher", high=1.0, title="rarest class"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        shares = class_shares(references.label(generated), references.private_classes)
        return {"private_share": shares.private, "min_class_share": shares.smallest}


class DownstreamParams(Params):
    """What decides the training.

    Attributes:
        seed: of the fresh network, the same for synthetic and for real images.
    """

    seed: int = 2020


class DownstreamMetric(Metric):
    """Accuracy on real images after training on synthetic ones, and on real ones.

    Samples that have labels are learned from with these, as real ones then are; all
    others with those of the labelling classifier.
    """

    name = "downstream"
    cost = 5.0
    Params = DownstreamParams
    columns: ClassVar = {
        "accuracy_cnn": Column("higher", high=1.0, title="accuracy, CNN"),
        "accuracy_cnn_worst_class": Column("higher", high=1.0, title="accuracy, worst class"),
        "accuracy_logistic": Column("higher", high=1.0, title="accuracy, logistic"),
        "accuracy_cnn_real": Column("none", high=1.0, title="accuracy, CNN on real"),
        "accuracy_logistic_real": Column("none", high=1.0, title="accuracy, logistic on real"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        held_out = references.private_test
        if held_out.labels is None:
            raise MetricUnavailable("the held-out images have no labels")
        test = LabelledImages(held_out.images, held_out.labels)

        labelled = generated.labels is not None

        def accuracy(view: View, rows: Tensor) -> Accuracy:
            own = view.labels if labelled else None
            labels = references.label(view) if own is None else own
            train = LabelledImages(view.images[rows], labels[rows])
            training = Context(self.params.seed, context.device)
            return downstream_accuracy(train, test, references.labeller.classes, training)

        count = min(len(generated), len(references.private_train))
        everything = torch.arange(len(references.private_train))
        real = references.remember(
            f"downstream {count} {labelled} {self.params.model_dump_json()}",
            lambda: accuracy(references.private_train, subsample(everything, count)),
        )
        synthetic = accuracy(generated, torch.arange(len(generated)))
        return {
            "accuracy_cnn": synthetic.network,
            "accuracy_cnn_worst_class": synthetic.worst_class,
            "accuracy_logistic": synthetic.logistic,
            "accuracy_cnn_real": real.network,
            "accuracy_logistic_real": real.logistic,
        }


class LeakageParams(Params):
    """Who is attacked, and by which distances.

    Attributes:
        candidates: members, and as many strangers, at most.
        spaces: where distances are taken.
        seed: by which candidates are chosen, and halved to tune the attack and to judge it.
    """

    candidates: int = Field(default=5000, ge=4)
    spaces: tuple[Literal["features", "pixels"], ...] = Field(
        default=("features", "pixels"), min_length=1
    )
    seed: int = 2020


class LeakageMetric(Metric):
    """Advantage of a membership attack that sees the synthetic images, with a 95% interval."""

    name = "leakage"
    cost = 20.0
    Params = LeakageParams
    columns: ClassVar = {
        "mia_advantage": Column("lower", low=-1.0, high=1.0, title="attack advantage"),
        "mia_low": Column("none", low=-1.0, high=1.0, title="attack, low"),
        "mia_high": Column("none", low=-1.0, high=1.0, title="attack, high"),
    }

    def compute(self, generated: View, references: References, context: Context) -> Figures:
        params = self.params
        calibration = references.calibration
        scores = []
        for space in params.spaces:

            def points(view: View, most: int, space: str = space) -> Tensor:
                if space == "features":
                    return subsample(view.features, most, params.seed)
                # Chosen first, turned to floats then: views may hold many images.
                return to_float(subsample(view.images, most, params.seed)).flatten(1)

            scores += membership_scores(
                points(references.private_train, params.candidates),
                points(references.private_test, params.candidates),
                points(generated, len(generated)),
                None if calibration is None else points(calibration, len(generated)),
            )
        advantage = membership_advantage(scores, params.seed)
        return {
            "mia_advantage": advantage.value,
            "mia_low": advantage.low,
            "mia_high": advantage.high,
        }

    def picture(self, generated: View, references: References) -> Tensor:
        """Show the samples nearest to private images, with their four nearest neighbours."""
        return nearest_neighbour_grid(generated, references)


@hookimpl
def register_metrics(register: Callable[[type[Metric]], None]) -> None:
    """Register every metric of this module."""
    for metric in (
        FidMetric,
        InceptionScoreMetric,
        KidMetric,
        PrdcMetric,
        ClassMetric,
        DownstreamMetric,
        LeakageMetric,
        FieldMetric,
        FieldLiteMetric,
        ByClassMetric,
    ):
        register(metric)
