"""Poisson sampling: exact inclusion probabilities, nothing cut off, and a test that notices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.sampling import InclusionCounter, PoissonBlock, PoissonSampler


def _sampler(size: int, rate: float, seed: int = 0) -> PoissonSampler:
    return PoissonSampler(size, rate, SeededSource("test", seed))


@pytest.mark.parametrize(("size", "rate"), [(50, 0.5), (200, 0.01), (37, 0.93), (1000, 0.064)])
def test_every_record_joins_every_step_with_the_stated_probability(size: int, rate: float) -> None:
    steps = 20_000 if size < 1000 else 2_000
    block = _sampler(size, rate).block(steps)
    counts = torch.bincount(block.records, minlength=size).double()
    z = (counts - steps * rate) / math.sqrt(steps * rate * (1 - rate))
    assert z.abs().max() < 5
    assert abs(float(z.square().mean()) - 1) < 6 * math.sqrt(2 / size)
    sizes = block.counts.double()
    assert abs(float(sizes.mean()) - size * rate) < 5 * math.sqrt(size * rate / steps)


def test_records_join_independently_of_each_other() -> None:
    size, rate, steps = 12, 0.3, 40_000
    block = _sampler(size, rate).block(steps)
    member = torch.zeros(steps, size, dtype=torch.float64)
    member[torch.repeat_interleave(torch.arange(steps), block.counts), block.records] = 1
    correlation = torch.corrcoef(member.T) - torch.eye(size)
    assert correlation.abs().max() < 5 / math.sqrt(steps)
    between_steps = (member[1:] - rate).mul(member[:-1] - rate).mean() / (rate * (1 - rate))
    assert abs(float(between_steps)) < 5 / math.sqrt(steps * size)


def test_no_record_twice_in_a_batch_and_steps_in_order() -> None:
    block = _sampler(300, 0.2).block(50)
    for batch in block.records.split(block.counts.tolist()):
        assert (batch.diff() > 0).all()


def test_rate_one_takes_every_record_every_step() -> None:
    block = _sampler(7, 1.0).block(3)
    assert block.counts.tolist() == [7, 7, 7]
    assert block.records.tolist() == [*range(7)] * 3


class _Stingy(SeededSource):
    """Gives tiny gaps first, so that what is drawn ahead falls short of the end."""

    def __init__(self) -> None:
        super().__init__("stingy")
        self.calls = 0

    def uniform(
        self,
        shape: object,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        self.calls += 1
        drawn = super().uniform(shape, device, dtype)  # type: ignore[arg-type]
        return torch.zeros_like(drawn) if self.calls == 1 else drawn


def test_a_shortfall_is_drawn_not_truncated() -> None:
    source = _Stingy()
    block = PoissonSampler(1000, 0.1, source).block(10)
    assert source.calls > 1
    assert int(block.counts.sum()) > 1100
    # the first draw, all gaps of one, fills the leading steps; the last ones look as usual
    assert (block.counts[-5:] > 50).all()
    assert (block.counts[-5:] < 160).all()


def test_padding_keeps_each_batch_in_its_row() -> None:
    block = _sampler(20, 0.3).block(6)
    width = int(block.counts.max()) + 2
    padded = block.padded(width)
    for row, batch in zip(padded, block.records.split(block.counts.tolist()), strict=True):
        assert row[: len(batch)].tolist() == batch.tolist()
        assert (row[len(batch) :] == 0).all()


def _figures(blocks: list[PoissonBlock], size: int, rate: float) -> dict[str, float]:
    counter = InclusionCounter(size, [rate])
    for block in blocks:
        for batch in block.records.split(block.counts.tolist()):
            counter.add(batch[None], torch.ones(1, len(batch), dtype=torch.bool))
    return counter.figures()


def test_scores_of_honest_sampling_are_standard_normal() -> None:
    names = ("z_total", "z_dispersion", "z_batch_variance")
    scores = []
    for seed in range(200):
        sampler = _sampler(500, 0.1, seed)
        figures = _figures([sampler.block(20) for _ in range(5)], 500, 0.1)
        scores.append([figures[name] for name in names])
    z = torch.tensor(scores)
    assert z.mean(0).abs().max() < 5 / math.sqrt(200)
    assert (z.std(0) - 1).abs().max() < 0.3


def test_shuffled_fixed_size_batches_are_noticed() -> None:
    size, batch = 500, 50
    order = torch.cat([torch.randperm(size) for _ in range(10)])
    block = PoissonBlock(order, torch.full((size * 10 // batch,), batch))
    figures = _figures([block], size, batch / size)
    assert figures["z_total"] == 0
    assert figures["z_dispersion"] < -5
    assert figures["z_batch_variance"] < -5
