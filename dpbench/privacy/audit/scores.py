"""What an attacker reads off a trained generator: higher should mean "canary was in".

Fixed scores are computed per run; ``state`` scores are learned on runs of known
world, then applied to others. The audit chooses among all on runs that it does
not use for its bound, so trying many costs nothing but runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dpbench.api import PrivateGenerator
from dpbench.privacy.by_class import sample_of
from dpbench.privacy.records import Records
from dpbench.privacy.session import PrivateSession

__all__ = [
    "Observation",
    "StateScore",
    "far_latents",
    "learned_scores",
    "observe",
    "sample_scores",
    "stacked_states",
]

StateScore = Callable[[Tensor], Tensor]
"""Maps states ``[n, D]`` to one score each, ``[n]``."""


@dataclass(frozen=True)
class Observation:
    """One trained generator: ``scores`` ``[m]`` per canary, and all of its ``state`` ``[D]``."""

    scores: dict[str, Tensor]
    state: Tensor

    def with_scores(self, learned: dict[str, StateScore]) -> Observation:
        """Return what ``learned`` makes of the state, beside the other scores, in its place."""
        found = {name: score(self.state[None]) for name, score in learned.items()}
        # Where private data decide how much is kept, the amount itself tells.
        found["white-box: size of the state"] = torch.tensor([float(len(self.state))])
        return replace(self, scores={**self.scores, **found}, state=self.state[:0])


def far_latents(public: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return ``count`` worst-case latents: far out, each in a random direction.

    Three times as far from the mean as the farthest public latent: nothing
    hides them, and whatever clips is at its clip.
    """
    centre = public.mean(0)
    radius = 3 * (public - centre).norm(dim=1).max().clamp_min(1)
    directions = torch.randn(count, public.shape[1], generator=rng).to(public)
    far: Tensor = centre + radius * torch.nn.functional.normalize(directions, dim=1)
    return far


def sample_scores(samples: Tensor, canaries: Tensor, centre: Tensor) -> dict[str, Tensor]:
    """Black-box scores of ``canaries`` ``[m, d]`` from ``samples`` ``[S, d]``; each ``[m]``.

    A canary pulls the mean and the variance along its direction, and samples near it.
    """
    toward = torch.nn.functional.normalize(canaries - centre, dim=1)
    along = (samples - centre) @ toward.T
    return {
        "samples: mean toward the canary": along.mean(0),
        "samples: spread toward the canary": along.square().mean(0),
        "samples: reach toward the canary": along.amax(0),
        "samples: nearest to the canary": -torch.cdist(canaries, samples).amin(1),
    }


def _samples_scores(
    generator: PrivateGenerator,
    canaries: Records,
    centre: Tensor,
    count: int,
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Score each canary by ``count`` samples of its own class."""
    if canaries.labels is None:
        return sample_scores(generator.sample(count, rng), canaries.latents, centre)
    found: dict[str, Tensor] = {}
    for label in canaries.labels.unique():
        own = canaries.labels == label
        samples = sample_of(generator, count, rng, label)
        for name, scores in sample_scores(samples, canaries.latents[own], centre).items():
            found.setdefault(name, torch.zeros(len(own)))[own] = scores
    return found


def observe(
    generator: PrivateGenerator,
    session: PrivateSession,
    canaries: Records,
    centre: Tensor,
    count: int,
    rng: torch.Generator,
) -> Observation:
    """Gather every score that ``generator`` offers, and its state as one vector."""
    fixed: dict[str, Tensor] = {}
    if session.evidence is not None and session.ledger.mechanisms:
        fixed["white-box: alignment of releases"] = session.evidence.alignment.cpu()
    fixed |= _samples_scores(generator, canaries, centre, count, rng)
    own: Callable[[Tensor], float] | None = getattr(generator, "audit_score", None)
    if own is not None:
        fixed["white-box: the generator's own"] = torch.tensor([own(c) for c in canaries.latents])
    state = torch.cat([t.flatten().float() for t in generator.state().values()] or [torch.zeros(1)])
    return Observation(
        {name: score.float().nan_to_num() for name, score in fixed.items()}, state.nan_to_num()
    )


def stacked_states(observations: Sequence[Observation]) -> Tensor:
    """Return the states as ``[n, D]``; shorter ones are filled up with zeros."""
    return pad_sequence([observation.state for observation in observations], batch_first=True)


def _of_width(states: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, width - states.shape[1]))


def learned_scores(inside: Tensor, outside: Tensor) -> dict[str, StateScore]:
    """Learn linear scores of the state from runs with ``[n, D]`` and without the canary.

    Diagonal discriminants over the 1, 10 and all coordinates that differ most: a
    parameter without noise stands out by itself, a common shift needs them all.
    """
    width = max(inside.shape[1], outside.shape[1])
    inside, outside = _of_width(inside, width), _of_width(outside, width)
    difference = inside.mean(0) - outside.mean(0)
    variance = (inside.var(0) + outside.var(0)) / 2
    # A coordinate that never varies and never differs says nothing.
    weight = difference / (variance + 1e-12 + 1e-6 * variance.mean())
    order = (difference.abs() / (variance + 1e-12).sqrt()).argsort(descending=True)
    scores: dict[str, StateScore] = {}
    for most in (1, 10, len(order)):
        chosen = order[:most]

        def score(states: Tensor, chosen: Tensor = chosen) -> Tensor:
            return _of_width(states, width)[:, chosen] @ weight[chosen]

        scores[f"white-box: {min(most, len(order))} learned parameters"] = score
    return scores
