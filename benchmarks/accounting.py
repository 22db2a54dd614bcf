"""Tightness of the calibration and agreement of the accountants.

    python benchmarks/accounting.py [--write benchmarks/accounting.md]

Everything is computed at delta = 1e-6 for replacing one record by a null record.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from common import command, machine, publish, table
from opacus.accountants import RDPAccountant

from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.ledger import Mechanism

DELTA = 1e-6
TARGETS = (0.2, 1.0, 3.0, 10.0)
PAPER_RATE, PAPER_STEPS = 64 / 19_612, 48_000
USES = [
    ("1", 1.0, 1),
    ("1", 1.0, 50),
    ("0.05", 0.05, 150),
    ("0.05", 0.05, 2000),
    ("64/19,612", PAPER_RATE, PAPER_STEPS),
]
PAPER_SIGMAS = (0.3, 0.4, 0.5, 0.6)


def mechanism(sigma: float, rate: float, steps: int) -> Mechanism:
    return Mechanism(
        name="steps", noise_multiplier=sigma, sampling_rate=rate, count=steps, sensitivity=1.0
    )


def calibration_row(name: str, rate: float, steps: int) -> list[str]:
    """Spent over target, for every target."""
    cells = [f"{name}, {steps:,}"]
    for target in TARGETS:
        sigma = noise_multiplier_for(target, DELTA, rate, steps)
        spent = compose([mechanism(sigma, rate, steps)], DELTA)
        cells.append(f"{spent.epsilon / target:.4f}")
    return cells


def paper_row(sigma: float) -> list[str]:
    """The paper's steps by three accountants."""
    spent = compose([mechanism(sigma, PAPER_RATE, PAPER_STEPS)], DELTA)
    renyi = RDPAccountant()
    renyi.history = [(sigma, PAPER_RATE, PAPER_STEPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = renyi.get_epsilon(DELTA)
    return [f"{sigma}", f"{bound:.1f}", f"{spent.opacus:.1f}", f"{spent.dp_accounting:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    targets = [f"ε = {target:g}" for target in TARGETS]
    lines = [
        "# Calibration and accountants",
        "",
        f"`{command()}`; {machine()}.",
        "",
        "Noise is calibrated for the target; the cells are ε spent, by the larger of the two",
        "accountants, over the target. δ = 1e-6.",
        "",
        *table(["sampling rate, steps", *targets], [calibration_row(*use) for use in USES]),
        "",
        "The paper's steps (expected batch 64 of 19,612, 48,000 steps):",
        "",
        *table(
            ["σ", "Opacus Rényi", "Opacus PRV", "dp-accounting PLD"],
            [paper_row(sigma) for sigma in PAPER_SIGMAS],
        ),
    ]
    publish(lines, options.write)


if __name__ == "__main__":
    main()
