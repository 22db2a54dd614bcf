"""Audits of records with labels: the canary has one too."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dpbench.api import Context, Params, PrivateGenerator
from dpbench.privacy.audit import AuditResult, run_audit
from dpbench.privacy.handle import PrivateLatents

DIM, CLASSES = 4, 3
PRIVATE = torch.randn(120, DIM, generator=torch.Generator().manual_seed(1))
PUBLIC = torch.randn(200, DIM, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(len(PRIVATE)) % CLASSES


class Means(PrivateGenerator):
    """A noisy mean for each class."""

    name = label = "means"
    conditional = True

    def __init__(self, params: Any, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        self.means = torch.zeros(classes, latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        noise = private.noise_multiplier()
        self.means = private.release_sum(
            lambda z: z, clip=private.clip, noise_multiplier=noise, name="means", by_class=True
        )

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return self.means[labels] + 0.1 * torch.randn(count, self.latent_dim, generator=rng)

    def state(self) -> dict[str, Tensor]:
        return {"means": self.means}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.means = state["means"]


class NoisesByItself(Means):
    """Hands out the means of classes with a little noise that the ledger knows nothing of."""

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        views = private.by_class()
        noise = 0.05  # where the ledger says more
        sums = [_noisy(view, noise, context) for view in views]
        super().fit(private, public, context)
        self.means = torch.stack(sums)


def _noisy(view: PrivateLatents, noise: float, context: Context) -> Tensor:
    latents = view._session.latents
    clipped = latents * (view.clip / latents.norm(dim=1, keepdim=True).clamp_min(1e-9)).clamp_max(1)
    rng = context.generator("noise")
    total: Tensor = clipped.sum(0) + noise * torch.randn(view.dim, generator=rng)
    return total


class NotConditional(PrivateGenerator):
    """One noisy mean; trained class by class."""

    name = label = "mean"

    def __init__(self, params: Any, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.mean = torch.zeros(latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        noise = private.noise_multiplier()
        clip = private.clip
        self.mean = private.release_sum(lambda z: z, clip=clip, noise_multiplier=noise, name="mean")

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        return self.mean + 0.1 * torch.randn(count, self.latent_dim, generator=rng)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.mean = state["mean"]


def audited(generator: type[PrivateGenerator], kind: str, **effort: Any) -> AuditResult:
    return run_audit(
        generator,
        Params(),
        PUBLIC,
        PRIVATE,
        epsilon=1.0,
        delta=1e-5,
        clip=1.0,
        labels=LABELS,
        classes=CLASSES,
        kind=kind,
        records=60,
        samples=30,
        **effort,
    )


@pytest.mark.parametrize("generator", [Means, NotConditional])
@pytest.mark.parametrize(
    ("kind", "effort"), [("many-run", {"runs": 200}), ("one-run", {"canaries": 60})]
)
def test_an_honest_release_by_class_is_not_refuted(generator, kind: str, effort: Any) -> None:
    result = audited(generator, kind, **effort)
    assert not result.refuted
    assert 0.97 < result.epsilon_claimed <= 1.0
    assert math.isfinite(result.epsilon_lower)


def test_the_attacker_looks_for_the_canary_in_its_own_class() -> None:
    """With hardly any noise accounted, only evidence of the right class shows the canary."""
    result = run_audit(
        NotConditional,
        Params(),
        PUBLIC,
        PRIVATE,
        epsilon=30.0,
        delta=1e-5,
        clip=1.0,
        labels=LABELS,
        classes=CLASSES,
        kind="many-run",
        records=60,
        samples=30,
        runs=200,
    )
    assert result.epsilon_lower > 2
    assert not result.refuted


def test_class_means_outside_the_ledger_are_refuted() -> None:
    assert audited(NoisesByItself, "many-run", runs=300).refuted
