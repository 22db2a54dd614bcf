"""Keys name artifacts; seeds name draws.

A key hashes all that an artifact depends on: configuration, code, and the keys of
what it reads, down to the fingerprints of the parts of the data. A seed follows from
configuration and the user's seed alone. It never follows from code, so that an edit
which changes no result changes no figure; and never from data, since initial weights
and samples that depend on private images would tell them apart outside any accounting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpbench.api import derive_seed
from dpbench.component import Component
from dpbench.metrics.protocol import Protocol
from dpbench.planning.methods import Method
from dpbench.planning.trials import Trial
from dpbench.stages.data import DataKeys
from dpbench.store import content_key

__all__ = [
    "Seeds",
    "control_samples_key",
    "control_seed",
    "evaluator_key",
    "evaluator_seed",
    "features_key",
    "generator_key",
    "latents_key",
    "latents_seed",
    "public_key",
    "public_seed",
    "references_key",
    "replay_key",
    "replay_seed",
    "score_key",
    "trial_epsilon",
    "trial_samples_key",
    "trial_seeds",
]

#: Raise when what a key covers changes, or a stage in a way that its code does not show.
STAGE_VERSION = 2
#: The same for evaluators and references alone, on which features and scores depend.
EVALUATOR_VERSION = 3


def evaluator_key(
    evaluator: Component, code: str, data: DataKeys, weights_sha256: str | None
) -> str:
    """Name an evaluator: a released one by its weights, a trained one by what it learns from."""
    learnt = {
        "labelling": data.labelling,
        "test": data.test,
        "private_classes": data.private_classes,
    }
    source = {"weights": weights_sha256} if weights_sha256 else learnt
    return content_key([evaluator.digest, code, source, EVALUATOR_VERSION])


def evaluator_seed(evaluator: Component) -> int:
    return derive_seed("evaluator", evaluator.plugin)


def references_key(evaluator: str, data: DataKeys) -> str:
    """Name what an evaluator, by its key, sees in the real images."""
    parts = [data.private, data.test, data.labelling, data.private_classes]
    return content_key(["references", evaluator, parts, EVALUATOR_VERSION])


def public_key(model: Component, code: str, public_images: str) -> str:
    return content_key([model.digest, code, public_images, STAGE_VERSION])


def public_seed(model: Component) -> int:
    return derive_seed("public", model.digest)


def latents_key(
    public: str, extractor: Component, code: str, latents: dict[str, Any], data: DataKeys
) -> str:
    """Name latents: of which public model, by its key, how extracted, and of which images."""
    images = [data.public, data.private]
    return content_key([public, extractor.digest, code, latents, images, STAGE_VERSION])


def latents_seed(method: Method, latents: dict[str, Any]) -> int:
    return derive_seed("latents", _extraction(method, latents))


def _extraction(method: Method, latents: dict[str, Any]) -> str:
    return content_key([method.public.digest, method.extractor.digest, latents])


def trial_epsilon(trial: Trial) -> float:
    """Return the trial's target; infinite where the noise is given instead."""
    return math.inf if trial.epsilon is None else trial.epsilon


def _trial(trial: Trial) -> list[Any]:
    """Return what tells a trial from others of the same latents, as JSON values."""
    return [
        trial.method.generator.digest,
        str(float(trial_epsilon(trial))),
        trial.noise_multiplier,
        trial.delta,
        trial.clip,
        trial.seed,
        *([] if trial.labels == "none" else [trial.labels]),
    ]


def generator_key(
    latents: str, trial: Trial, code: str, secure_rng: bool, classes: Sequence[int] = ()
) -> str:
    """Name a trained generator; ``classes`` are the private ones, where it learns labels."""
    labelled = [list(classes)] if classes else []
    return content_key([latents, _trial(trial), code, secure_rng, STAGE_VERSION, *labelled])


def replay_key(company: str, code: str, check: str) -> str:
    """Name the one replay of a company, whichever of its trials stand for it.

    ``code`` is the generator's, ``check`` that of the replay check itself.
    """
    return content_key(["replay", company, code, check, STAGE_VERSION])


def replay_seed(trials: Sequence[int]) -> int:
    """Derive the seed of a replay from those of its trials."""
    return derive_seed("replay", *trials)


@dataclass(frozen=True)
class Seeds:
    """The seeds of one trial.

    Attributes:
        training: of the context that the generator gets.
        noise: root of all noise; no function of ``training``, which the generator sees.
        samples: of the samples that are scored.
    """

    training: int
    noise: int
    samples: int


def trial_seeds(trial: Trial) -> Seeds:
    """Derive a trial's seeds from its whole configuration, its generator's name among it."""
    whole = content_key([_extraction(trial.method, trial.latents), _trial(trial)])
    return Seeds(*(derive_seed(use, whole) for use in ("generator", "noise", "samples")))


def trial_samples_key(trained: str, sharpening: str | None) -> str:
    return content_key(["samples", trained, *([sharpening] if sharpening else [])])


def control_samples_key(
    source: str, data: DataKeys, latents: str | None, sharpening: str | None
) -> str:
    """Name the samples of a control that shows images, or what ``latents`` make of them."""
    images = latents or [data.public, data.test, data.private_classes]
    return content_key([source, images, STAGE_VERSION, *([sharpening] if sharpening else [])])


def control_seed(source: str, method: Method | None, latents: dict[str, Any]) -> int:
    through = "" if method is None else _extraction(method, latents)
    return derive_seed("samples", source, through)


def features_key(samples: str, count: int, evaluator: str) -> str:
    return content_key([samples, count, evaluator])


def score_key(
    features: str, references: str, labeller: str, protocol: Protocol, metric: str
) -> str:
    """Name a score: what is scored, against what, and by which metric's digest."""
    against = [references, labeller, protocol.reference]
    return content_key([features, against, metric, STAGE_VERSION])
