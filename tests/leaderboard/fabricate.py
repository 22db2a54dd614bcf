"""Results as a run would leave them, made up."""

from __future__ import annotations

import math
import random
from typing import Any

from dpbench.privacy.accounting import Spent
from dpbench.privacy.audit import AuditResult
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.results import Privacy, Result

PAIRS = (("wgan", "gradient", "wgan"), ("ae", "encoder", "ae-enc"), ("ae", "gradient", "ae-grad"))
CLIPS = (0.5, 1.0, 2.0)
DOMAIN: dict[str, Any] = {
    "name": "default",
    "protocol": "default",
    "evaluator": "domain",
    "network": "domain classifier, conv 16-32, linear 128",
    "weights_sha256": "3fa2c19b" + "0" * 56,
    "test_accuracy": 0.9871,
    "samples": 10_000,
    "reference": "private-train",
    "quantisation": "clamp to [0, 1], times 255, round to uint8",
}
INCEPTION: dict[str, Any] = {
    **DOMAIN,
    "name": "canonical",
    "protocol": "canonical",
    "evaluator": "inception",
    "weights_sha256": "6726825d" + "0" * 56,
}


def privacy(noise: float, epsilon: float | None, delta: float = 1e-6, **ledger: Any) -> Privacy:
    """Return a hundred steps with this noise multiplier, said to have spent ``epsilon``."""
    steps = Mechanism(name="dp-sgd", noise_multiplier=noise, sampling_rate=0.05, count=100)
    figure = math.inf if epsilon is None else epsilon
    spent = Spent(epsilon=figure, delta=delta, opacus=figure, dp_accounting=figure)
    return Privacy(spent=spent, ledger=Ledger(mechanisms=[steps], **ledger))


def audit(lower: float, claimed: float = 9.9) -> AuditResult:
    """Return what an audit found."""
    return AuditResult(
        kind="many-run",
        epsilon_claimed=claimed,
        epsilon_lower=lower,
        epsilon_ceiling=20.0,
        delta=1e-6,
        confidence=0.95,
        runs=400,
        canaries=1,
        records=500,
        score="nearest",
        correct=300,
        guesses=400,
    )


def trial(method: str = "ae-enc-GAN", epsilon: float | None = 10.0, **changes: Any) -> Result:
    """Return a trial; ``fid`` sets that figure, other names set fields."""
    fid = changes.pop("fid", 100.0)
    metrics = {"is": 3.5, "is_std": 0.1, "private_share": 0.9, "min_class_share": 0.1}
    if fid is not None:
        metrics = {"fid": fid, "fid_test": fid * 1.01, **metrics}
    noise = 0.0 if epsilon == math.inf else 2.0
    fields: dict[str, Any] = {
        "method": method,
        "public": method.partition("-")[0],
        "extractor": "gradient" if "grad" in method else "encoder",
        "generator": method.rpartition("-")[2].lower(),
        "dataset": "mnist",
        "epsilon": epsilon,
        "delta": 1e-6,
        "clip": 1.0,
        "seed": 0,
        "status": "ok",
        "epsilon_spent": None if epsilon is None else epsilon * 0.995,
        "metrics": {} if fid is None else metrics,
        "privacy": privacy(noise, epsilon),
        "protocol": DOMAIN,
    }
    return Result(**fields | changes)


def control(name: str, fid: float, **changes: Any) -> Result:
    """Return a control with its FID."""
    fields: dict[str, Any] = {
        "method": f"control:{name}",
        "dataset": "mnist",
        "status": "ok",
        "metrics": {"fid": fid, "is": 4.0, "is_std": 0.1, "private_share": 0.99},
        "protocol": DOMAIN,
    }
    return Result(**fields | changes)


def controls(**changes: Any) -> list[Result]:
    """Return the four controls, those through public models once per extractor."""
    found = [control("real", 2.1, **changes), control("public-images", 710.4, **changes)]
    for public, extractor, _ in PAIRS:
        through = {"public": public, "extractor": extractor, **changes}
        found.append(control("reconstruction", 41.0 if public == "ae" else 35.2, **through))
        found.append(control("public-prior", 412.0 if public == "wgan" else 655.0, **through))
    return found


def grid(
    seeds: int = 3, generators: tuple[str, ...] = ("GAN", "VAE"), **changes: Any
) -> list[Result]:
    """Return a whole grid of made-up trials with its controls."""
    rng = random.Random(7)
    made = controls(**changes)
    for number, (public, extractor, label) in enumerate(PAIRS):
        for generator in generators:
            for epsilon, level in ((math.inf, 80.0), (10.0, 150.0), (1.0, 300.0)):
                level *= 1 + 0.15 * number + 0.1 * generators.index(generator)
                for clip in CLIPS:
                    for seed in range(seeds):
                        fid = level * (1 + abs(math.log(clip)) / 3) * rng.uniform(0.93, 1.07)
                        made.append(
                            trial(
                                f"{label}-{generator}",
                                epsilon,
                                fid=fid,
                                public=public,
                                extractor=extractor,
                                generator=generator.lower(),
                                clip=clip,
                                seed=seed,
                                **changes,
                            )
                        )
    return made
