"""What correlated noise leaves in sums of gradients, beside DP-SGD at the same budget.

    python benchmarks/bands.py [--write benchmarks/bands.md]

Computed, not measured: at delta = 1e-6, for 19,612 records and the VAE's number of steps. The
noise is the standard deviation, in units of the clip, of what it adds to a sum of gradients
divided by the expected batch: of one step, and of all steps together.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from common import command, machine, publish, table
from torch import Tensor

from dpbench.privacy.accounting import noise_multiplier_for
from dpbench.privacy.correlated import square_root_bands

DELTA, RECORDS = 1e-6, 19_612
RUNS = [(1.0, 200), (10.0, 632)]
"""ε and steps."""
BATCHES, BANDS = (256, 512, 1024, 4096), (1, 2, 4, 8)


def inverse(bands: int, steps: int) -> Tensor:
    """Return C^-1, ``[steps, steps]``, which turns independent noise into correlated."""
    c = torch.zeros(steps, steps, dtype=torch.float64)
    for j, value in enumerate(square_root_bands(bands)[:steps]):
        c += value * torch.diag(torch.ones(steps - j, dtype=torch.float64), -j)
    return torch.linalg.inv(c)


def noise(epsilon: float, steps: int, batch: int, bands: int) -> tuple[float, float]:
    """Return the noise of a step's mean gradient, and of the sum of all of them."""
    rounds = math.ceil(steps / bands)
    sigma = noise_multiplier_for(epsilon, DELTA, bands * batch / RECORDS, rounds)
    mixed = sigma / batch * inverse(bands, steps)
    return float(mixed.norm()) / steps**0.5, float(mixed.sum(0).norm())


def rows(epsilon: float, steps: int) -> list[list[str]]:
    """A row a batch size, a cell a number of bands."""
    found = []
    for batch in BATCHES:
        cells = [f"{batch:,}"]
        for bands in BANDS:
            if bands * batch > RECORDS:
                cells.append("–")
                continue
            one, all_steps = noise(epsilon, steps, batch, bands)
            cells.append(f"{one:.4f} / {all_steps:.4f}")
        found.append(cells)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="file to write")
    options = parser.parse_args()
    lines = ["# Correlated noise at equal budgets", "", f"`{command()}`  ", machine(), ""]
    lines += ["Noise of a step's mean gradient / of the sum of all steps', in clips; rows: batch."]
    for epsilon, steps in RUNS:
        head = ["bands", *(f"{bands}" for bands in BANDS)]
        lines += ["", f"## ε = {epsilon:g}, {steps} steps", ""]
        lines += table(head, rows(epsilon, steps))
    publish(lines, options.write)


if __name__ == "__main__":
    main()
