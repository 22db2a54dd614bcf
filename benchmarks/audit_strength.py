"""How near the audit's lower bounds come to what honest mechanisms claim.

    python benchmarks/audit_strength.py [--write benchmarks/audit_strength.md]

Each case is trained with and without one far canary among few records, and attacked
by the scores of ``dpbench audit``. ``--repeats`` audits of one mechanism in a row show
how often an honest claim is refuted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import command, machine, publish, table

from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators.gan import GAN, GANParams
from dpbench.generators.mixture import MixtureRecipe, release_mixture
from dpbench.generators.vae import VAE, VAEParams
from dpbench.privacy.audit import AuditResult, run_audit
from dpbench.privacy.handle import PrivateLatents

DIM, DELTA = 16, 1e-6


class OneShotMixture(PrivateGenerator):
    """The first release of the built-in mixture: count, mean and covariance in one sum."""

    name = "one-shot-mixture"
    label = "Mixture"
    Params = Params

    def fit(self, private: PrivateLatents, public: torch.Tensor, context: Context) -> None:
        settings = MixtureRecipe(1, 0, 1, private.noise_multiplier())
        self.mixture = release_mixture(private, public, settings)

    def sample(self, count: int, rng: torch.Generator) -> torch.Tensor:
        return self.mixture.sample(count, rng)

    def state(self) -> dict[str, torch.Tensor]:
        return {"means": self.mixture.means, "factors": self.mixture.factors}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        raise NotImplementedError("nothing is stored here")


class NoisyMean(PrivateGenerator):
    """The least that can be audited: a clipped mean, released once."""

    name = "noisy-mean"
    label = "Mean"
    Params = Params

    def fit(self, private: PrivateLatents, public: torch.Tensor, context: Context) -> None:
        sigma = private.noise_multiplier()
        total = private.release_sum(lambda z: z, clip=1.0, noise_multiplier=sigma, name="mean")
        self.mean = total / private.size

    def sample(self, count: int, rng: torch.Generator) -> torch.Tensor:
        return self.mean + torch.randn(count, self.latent_dim, generator=rng)

    def state(self) -> dict[str, torch.Tensor]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.mean = state["mean"]


@dataclass(frozen=True)
class Case:
    """One generator to audit; ``runs`` trainings, ``aim`` is the share of the claim hoped for."""

    title: str
    cls: type[PrivateGenerator]
    params: Any
    epsilon: float
    runs: int
    aim: float


#: A critic whose gradient on a far record stays at the clip: the worst case for DP-SGD.
GAN_ALONE = GANParams(
    loss="wasserstein", penalty=0, hidden=(4,), critic_hidden=(8,), fakes=16, steps=20, batch=50
)
VAE_ALONE = VAEParams(prior="normal", hidden=(8,), latent=4, steps=20, batch=50)
CASES = [
    Case("noisy mean, one release", NoisyMean, Params(), 1.0, 120_000, 0.8),
    Case("mixture, its first release", OneShotMixture, Params(), 1.0, 100_000, 0.8),
    Case("GAN, DP-SGD alone, 20 steps, ε = 1", GAN, GAN_ALONE, 1.0, 60_000, 0.4),
    Case("VAE, DP-SGD alone, 20 steps, ε = 1", VAE, VAE_ALONE, 1.0, 30_000, 0.4),
    Case("VAE, DP-SGD alone, 20 steps, ε = 10", VAE, VAE_ALONE, 10.0, 20_000, 0.4),
]


def latents(count: int, seed: int) -> torch.Tensor:
    """Whitened latents, as generators get them."""
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


def attack(case: Case, runs: int, seed: int = 0) -> AuditResult:
    return run_audit(
        case.cls,
        case.params,
        latents(1000, 1),
        latents(200, 2),
        epsilon=case.epsilon,
        delta=DELTA,
        clip=1.0,
        runs=runs,
        records=100,
        samples=20,
        lanes=64,
        seed=seed,
    )


def rows(share: float, only: str) -> Iterator[list[str]]:
    for case in CASES:
        if only not in case.title:
            continue
        started = time.process_time()
        found = attack(case, max(16, int(case.runs * share)))
        minutes = (time.process_time() - started) / 60
        claim, fit = found.epsilon_claimed, found.epsilon_lower_gdp or 0.0
        yield [
            case.title,
            f"{claim:.3f}",
            f"{found.epsilon_lower:.3f} ({found.epsilon_lower / claim:.0%})",
            f"{fit:.3f} ({fit / claim:.0%})",
            f"{case.aim:.0%}",
            "yes" if found.claim_is_gaussian else "no",
            f"{found.runs:,}",
            f"{minutes:.1f}",
            found.score,
        ]
        print(f"{case.title}: {found}", file=sys.stderr, flush=True)


def false_alarms(repeats: int, runs: int) -> tuple[int, int]:
    """Count audits of an honest mechanism whose bounds pass the claim: (refuted, fit alone)."""
    found = [attack(CASES[0], runs, seed) for seed in range(1, repeats + 1)]
    beyond = [(r.epsilon_lower_gdp or 0.0) > r.epsilon_claimed for r in found]
    return sum(result.refuted for result in found), sum(beyond)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="part of the trainings")
    parser.add_argument("--only", default="", help="cases whose title has this in it")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--repeat-runs", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = [
        "mechanism", "ε claimed", "ε ≥, Clopper-Pearson", "ε ≥, Gaussian-DP fit", "aim",
        "claim is Gaussian", "trainings", "CPU minutes", "score",
    ]  # fmt: skip
    body = list(rows(options.share, options.only))
    refuted, beyond = false_alarms(options.repeats, options.repeat_runs)
    honest = [
        "",
        f"Honest claims: {options.repeats} audits of the noisy mean with {options.repeat_runs}",
        f"trainings each; {refuted} refuted it, {beyond} had a Gaussian-DP fit above the claim.",
        "At 95% confidence up to 5% may.",
    ]
    lines = [
        "# Strength of the audit",
        "",
        f"`{command()}`; {machine()}.",
        "",
        f"Lower bounds at 95% confidence (together), δ = {DELTA:g}, 100 records,",
        f"latents of {DIM} dimensions, one canary far out. The Gaussian-DP fit assumes that",
        "missing a canary trades against false alarms as for two Gaussians; where no mechanism is",
        "subsampled, the ledger itself claims that, and the fit may refute it.",
        "",
        *table(heads, body),
        *(honest if options.repeats else []),
    ]
    publish(lines, options.write)


if __name__ == "__main__":
    main()
