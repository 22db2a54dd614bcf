import pytest
import torch

from dpbench.privacy.ledger import Ledger, Mechanism, check_inclusions, joined
from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.sampling import InclusionCounter, PoissonBlock, PoissonSampler


def recorded(block: PoissonBlock, size: int, rate: float, stated: float | None = None) -> Ledger:
    """A ledger that accounts for Poisson sampling, with the figures of ``block``."""
    steps = len(block.counts)
    ledger = Ledger()
    ledger.record(
        Mechanism(name="steps", noise_multiplier=1.0, sampling_rate=stated or rate, count=steps)
    )
    counter = InclusionCounter(size, [rate])
    for batch in block.records.split(block.counts.tolist()):
        counter.add(batch[None], torch.ones(1, len(batch), dtype=torch.bool))
    ledger.inclusions.append({"mechanism": 0.0, **counter.figures()})
    return ledger


def blocks_of(batches: list[torch.Tensor]) -> PoissonBlock:
    return PoissonBlock(torch.cat(batches), torch.tensor([len(batch) for batch in batches]))


def test_equal_consecutive_mechanisms_are_merged() -> None:
    ledger = Ledger()
    step = Mechanism(name="step", noise_multiplier=1.0, sampling_rate=0.1)
    ledger.record(step)
    ledger.record(step.model_copy(update={"count": 3}))
    ledger.record(step.model_copy(update={"name": "other"}))
    assert [(m.name, m.count) for m in ledger.mechanisms] == [("step", 4), ("other", 1)]


def test_a_ledger_survives_json() -> None:
    block = PoissonSampler(100, 0.1, SeededSource(0)).block(20)
    ledger = recorded(block, 100, 0.1)
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger


@pytest.mark.parametrize(
    ("size", "rate", "steps"),
    [(50, 0.1, 3), (10, 0.5, 1), (1000, 0.01, 40), (500, 0.3, 100), (7, 0.02, 10), (64, 1.0, 4)],
)
def test_poisson_sampling_raises_no_alarm(size: int, rate: float, steps: int) -> None:
    for seed in range(100):
        sampler = PoissonSampler(size, rate, SeededSource(seed))
        assert check_inclusions(recorded(sampler.block(steps), size, rate)) == []


def test_shuffled_epochs_are_caught() -> None:
    rng = torch.Generator().manual_seed(0)
    epochs = [torch.randperm(1000, generator=rng).split(50) for _ in range(5)]
    batches = [batch for epoch in epochs for batch in epoch]
    problems = check_inclusions(recorded(blocks_of(batches), 1000, 0.05))
    assert any("spread over records" in problem for problem in problems)
    assert any("spread of batch sizes" in problem for problem in problems)


def test_fixed_size_batches_with_replacement_are_caught_by_their_size() -> None:
    rng = torch.Generator().manual_seed(0)
    batches = [torch.randint(1000, (50,), generator=rng) for _ in range(100)]
    problems = check_inclusions(recorded(blocks_of(batches), 1000, 0.05))
    assert len(problems) == 1
    assert "spread of batch sizes" in problems[0]


def test_a_rate_other_than_accounted_is_caught() -> None:
    block = PoissonSampler(1000, 0.06, SeededSource(0)).block(100)
    assert "rate 0.06" in check_inclusions(recorded(block, 1000, 0.06, stated=0.05))[0]
    assert "number of inclusions" in check_inclusions(recorded(block, 1000, 0.05))[0]


def test_unseen_samples_are_reported_unless_self_declared() -> None:
    ledger = Ledger()
    step = Mechanism(name="steps", noise_multiplier=1.0, sampling_rate=0.1, count=9)
    ledger.record(step)
    assert check_inclusions(ledger) == ["steps: 0 samples seen, 9 accounted"]
    declared = Ledger()
    declared.declare([step])
    assert check_inclusions(declared) == []


def test_ledgers_of_several_releases_are_joined_with_their_samples() -> None:
    first, second = (
        recorded(PoissonSampler(500, rate, SeededSource(rate)).block(40), 500, rate)
        for rate in (0.1, 0.4)
    )
    second.trust = "self-declared"
    both = joined([first, second])
    assert [m.sampling_rate for m in both.mechanisms] == [0.1, 0.4]
    assert [f["mechanism"] for f in both.inclusions] == [0.0, 1.0]
    assert check_inclusions(both) == []
    assert both.trust == "self-declared"
    assert len(first.mechanisms) == 1
