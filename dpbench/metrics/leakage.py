"""Leakage: how well an attacker tells private training images from held-out ones.

The attack sees synthetic images only (Hayes et al. 2019; Chen et al. 2020): a
member should lie nearer to them than a stranger does. A figure near 0 is no
proof of privacy; the accountant's epsilon is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.api import MetricUnavailable
from dpbench.metrics.neighbours import nearest
from dpbench.metrics.prdc import subsample
from dpbench.metrics.views import References, View

__all__ = [
    "Advantage",
    "membership_advantage",
    "membership_scores",
    "nearest_neighbour_grid",
]

NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Advantage:
    """True minus false positive rate, in ``[-1, 1]``, with a 95% interval; 0 is a guess."""

    value: float
    low: float
    high: float


def membership_scores(
    members: Tensor, strangers: Tensor, synthetic: Tensor, calibration: Tensor | None
) -> list[tuple[Tensor, Tensor]]:
    """Score candidates ``[N, d]``; a higher score says "member".

    Two scores: minus the distance to the nearest synthetic image; and, given
    ``calibration`` images from the same distribution that are neither members
    nor strangers, the distance to the nearest of those minus the former, so
    that images that lie far from everything do not pass for strangers.

    Returns:
        Pairs of member scores and stranger scores, one pair per score.
    """
    candidates = torch.cat([members, strangers])
    to_synthetic = nearest(candidates, synthetic)[0][:, 0].sqrt()
    scores = [-to_synthetic]
    if calibration is not None and len(calibration):
        # Equal numbers of points on both sides: the nearest of more is nearer.
        known = subsample(calibration, len(synthetic))
        scores.append(nearest(candidates, known)[0][:, 0].sqrt() - to_synthetic)
    return [(score[: len(members)], score[len(members) :]) for score in scores]


def membership_advantage(scores: list[tuple[Tensor, Tensor]], seed: int = 2020) -> Advantage:
    """Advantage of an attacker who tunes on half of the candidates, on the other half.

    Score and threshold are chosen on one half to make TPR - FPR largest, and
    judged on the other; then the halves change places. So a generator that
    leaks nothing scores 0 on average, which the largest TPR - FPR over all
    thresholds does not. The interval is Newcombe's (1998, method 10) for a
    difference of proportions.

    Args:
        scores: per score, those of members ``[N]`` and of strangers ``[M]``.

    Raises:
        MetricUnavailable: fewer than four members or strangers.
    """
    members, strangers = (len(part) for part in scores[0])
    if min(members, strangers) < 4:
        raise MetricUnavailable(
            f"the attack needs 4 members and 4 strangers, not {members} and {strangers}"
        )
    if not all(part.isfinite().all() for pair in scores for part in pair):
        raise MetricUnavailable("distances are not finite")
    rng = torch.Generator().manual_seed(seed)
    halves = [torch.randperm(count, generator=rng) % 2 == 0 for count in (members, strangers)]
    hits = [0, 0]
    for side in (True, False):
        tune = [half == side for half in halves]
        best = max(
            (_best_threshold(pair[0][tune[0]], pair[1][tune[1]]), index)
            for index, pair in enumerate(scores)
        )
        (_, threshold), index = best
        for group in (0, 1):
            judged = scores[index][group][~tune[group]]
            hits[group] += int((judged >= threshold).sum())
    return _difference(hits[0], members, hits[1], strangers)


def _best_threshold(members: Tensor, strangers: Tensor) -> tuple[float, float]:
    """Largest TPR - FPR over thresholds, and the threshold that reaches it."""
    values = torch.cat([members, strangers])
    gain = torch.cat(
        [
            torch.full((len(members),), 1 / len(members), dtype=torch.float64),
            torch.full((len(strangers),), -1 / len(strangers), dtype=torch.float64),
        ]
    )
    values, order = values.sort(descending=True)
    advantage = gain[order].cumsum(0)
    # Equal scores fall on one side together: only the last of a run is a threshold.
    last = torch.ones(len(values), dtype=torch.bool)
    last[:-1] = values[1:] != values[:-1]
    advantage[~last] = -1
    at = int(advantage.argmax())
    return advantage[at].item(), values[at].item()


def _difference(hits: int, count: int, false_hits: int, other_count: int) -> Advantage:
    p, low_p, high_p = _wilson(hits, count)
    q, low_q, high_q = _wilson(false_hits, other_count)
    return Advantage(
        value=p - q,
        low=p - q - math.hypot(p - low_p, high_q - q),
        high=p - q + math.hypot(high_p - p, q - low_q),
    )


def _wilson(hits: int, count: int) -> tuple[float, float, float]:
    """A proportion and its 95% Wilson interval."""
    z2 = NORMAL_95**2
    p = hits / count
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    margin = NORMAL_95 / (1 + z2 / count) * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    return p, max(centre - margin, 0.0), min(centre + margin, 1.0)


def nearest_neighbour_grid(
    generated: View, references: References, rows: int = 8, neighbours: int = 4, gap: int = 1
) -> Tensor:
    """Picture generated images beside the private training images nearest to them.

    Not for release: it shows private images.

    Returns:
        ``uint8`` ``[C, rows * (H + gap) - gap, (neighbours + 1) * (W + gap) - gap]``: per
        row one generated image, then its neighbours in feature space, nearest
        first. The rows are the generated images nearest to any private one.
    """
    private = references.private_train
    rows = min(rows, len(generated))
    neighbours = min(neighbours, len(private))
    distances, indices = nearest(generated.features, private.features, neighbours)
    closest = distances[:, 0].argsort()[:rows]
    channels, height, width = generated.images.shape[1:]
    step_y, step_x = height + gap, width + gap
    grid = torch.full(
        (channels, rows * step_y - gap, (neighbours + 1) * step_x - gap), 255, dtype=torch.uint8
    )
    for row, which in enumerate(closest):
        pictures = [generated.images[which], *private.images[indices[which]]]
        for column, picture in enumerate(pictures):
            y, x = row * step_y, column * step_x
            grid[:, y : y + height, x : x + width] = picture.cpu()
    return grid
