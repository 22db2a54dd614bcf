"""Judges of what is learned before anything private: good enough to build on, or not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dpbench.api import PublicModel, to_float
from dpbench.errors import DpbenchError

__all__ = ["NearChance", "judge_evaluator", "judge_public_model", "unexplained"]

#: Below this share of the way from chance to perfection an evaluator is weak.
WEAK = 0.5
#: Above this share of variance left unexplained, a public model has learned too little.
BLURRED = 0.5
MORE_DATA = "give it more labelling images (the partition's labelling), or raise its epochs"


class NearChance(DpbenchError):
    """A trained evaluator that tells classes apart no better than a guess."""


def judge_evaluator(accuracy: float, labels: Tensor) -> str:
    """Judge an evaluator by its accuracy on test images with these true ``labels``.

    Chance is the share of the most frequent class. Near it is what four standard errors
    of a guess would reach, at most half way to perfection.

    Returns:
        A warning; empty when there is nothing to warn of.

    Raises:
        NearChance: features of such a network mean nothing, and neither do scores.
    """
    chance = int(labels.bincount().max()) / len(labels)
    error = math.sqrt(chance * (1 - chance) / len(labels))
    figures = f"{accuracy:.1%} of test images labelled correctly, where guessing gives {chance:.1%}"
    if chance < 1 and accuracy < chance + min(
        max(4 * error, 0.05 * (1 - chance)), 0.5 * (1 - chance)
    ):
        raise NearChance(f"the evaluator is near chance ({figures}): {MORE_DATA}")
    weak = accuracy < chance + WEAK * (1 - chance)
    return f"a weak evaluator ({figures}): {MORE_DATA}" if weak and chance < 1 else ""


def judge_public_model(share: float | None) -> str:
    """Judge a public model by the :func:`unexplained` share; return a warning or nothing."""
    if share is None or share <= BLURRED:
        return ""
    return (
        f"the public model leaves {share:.0%} of its own images' variance unexplained: train it "
        "longer, give it more public images, or a larger latent"
    )


@torch.inference_mode()
def unexplained(
    model: PublicModel, images: Tensor, device: torch.device, most: int = 1000
) -> float | None:
    """Return the squared error of public images' first guess, as a share of their variance.

    ``None`` where the model can guess no latents, or the images are all alike.
    """
    x = to_float(images[:most].to(device))
    error = 0.0
    for part in x.split(250):
        z = model.guess(part)
        if z is None:
            return None
        error += float((model.decode(z) - part).square().sum())
    variance = float((x - x.mean(0)).square().sum())
    return error / variance if variance > 0 else None
