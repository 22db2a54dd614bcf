"""Correlated noise: the factorisation, its sampling and what its ledger says."""

from __future__ import annotations

import math
from contextlib import closing

import pytest
import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import compose
from dpbench.privacy.correlated import (
    CorrelatedLanes,
    CorrelatedUse,
    CyclicSampler,
    RoundCounter,
    square_root_bands,
    with_bands,
)
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.ledger import Mechanism, check_inclusions
from dpbench.privacy.mechanism import NotAccounted
from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.replay.tape import Recording
from dpbench.privacy.session import PrivateSession

NET = LaneMLP((6, 8, 6))


def _latents(size: int = 300) -> Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(7))


def _session(latents: Tensor, epsilon: float = math.inf, seed: int = 0) -> PrivateSession:
    return PrivateSession(latents, Budget(epsilon, 1e-6), 0.5, Context(seed), noise_seed=seed)


def _handle(latents: Tensor, epsilon: float = math.inf, seed: int = 0) -> PrivateLatents:
    return _session(latents, epsilon, seed).handle


def _params() -> LaneBuffer:
    params = LaneBuffer.zeros(NET.layers, 1)
    params.initialise([torch.Generator().manual_seed(0)])
    return params


def _gradients(engine: DPSGDLanes, params: LaneBuffer) -> Tensor:
    """All that an engine hands out, ``[T, P]``, at parameters that stay."""

    def traces(x: Tensor) -> list[LinearTrace]:
        tape = NET.forward(params, x)
        return NET.backward(params, tape, tape.output - x)[0]

    found = []
    while engine.active:
        found.append(engine.gradient(traces).flat[0].clone())
    return torch.stack(found)


def _dense(column: tuple[float, ...], steps: int) -> Tensor:
    c = torch.zeros(steps, steps, dtype=torch.float64)
    for j, value in enumerate(column):
        c += value * torch.diag(torch.ones(steps - j, dtype=torch.float64), -j)
    return c


def _use(column: tuple[float, ...], steps: int, noise: float, clip: float = 1.0) -> CorrelatedUse:
    rounds = math.ceil(steps / len(column))
    mechanism = Mechanism(name="m", noise_multiplier=noise, count=rounds, sensitivity=clip)
    return CorrelatedUse(_session(_latents()).use(mechanism), steps, column)


@pytest.mark.parametrize("bands", [1, 2, 4, 8])
def test_columns_have_norm_one_and_start_like_a_square_root(bands: int) -> None:
    column = square_root_bands(bands)
    assert len(column) == bands
    assert math.hypot(*column) == pytest.approx(1)
    root = _dense(column, bands) / column[0]
    prefix = torch.ones(bands, bands, dtype=torch.float64).tril()
    torch.testing.assert_close(root @ root, prefix)


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_noise_is_that_of_the_dense_matrix(bands: int) -> None:
    steps, clip, noise = 17, 0.5, 3.0
    column = square_root_bands(bands)
    use = _use(column, steps, noise, clip)
    found = []
    for _ in range(steps):
        use.begin()
        found.append(use.release(torch.zeros(40, dtype=torch.float64)))
    source = _session(_latents()).source("m")
    z = torch.stack([source.normal((40,), dtype=torch.float64) for _ in range(steps)])
    expected = torch.linalg.solve(_dense(column, steps), noise * clip * z)
    torch.testing.assert_close(torch.stack(found), expected)


@pytest.mark.parametrize("bands", [2, 4])
def test_without_noise_gradients_are_ordinary(bands: int) -> None:
    params, schedule = _params(), LaneSchedule(1 / bands, 2 * bands, 0.5, 0.0)
    found = _gradients(CorrelatedLanes(params, [_handle(_latents())], [schedule], bands), params)
    for step, gradient in enumerate(found):
        group = _latents()[step % bands :: bands]  # at a rate of 1 within it
        plain = LaneSchedule(1.0, 1, 0.5, 0.0)
        (expected,) = _gradients(DPSGDLanes(params, [_handle(group)], [plain]), params)
        share = len(group) / (300 / bands)
        torch.testing.assert_close(gradient, expected * share, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps", [16, 18])
def test_a_record_moves_what_is_released_in_a_round_by_at_most_the_clip(steps: int) -> None:
    bands, clip, planted = 4, 0.5, 6
    column = square_root_bands(bands)
    params = _params()
    latents = _latents(40)
    latents[planted] = 50.0
    without = latents.clone()
    without[planted] = math.nan  # a null record

    def released(x: Tensor) -> Tensor:
        schedule = LaneSchedule(1 / bands, steps, clip, 0.0)
        engine = CorrelatedLanes(params, [_handle(x)], [schedule], bands)
        return _dense(column, steps) @ (10 * _gradients(engine, params)).double()

    moved = released(latents) - released(without)
    own = planted % bands
    assert float(moved[:own].norm()) < 1e-5
    for start in range(own, steps, bands):
        rows = moved[start : start + bands]
        assert float(rows.norm()) <= clip * (1 + 1e-4)
        if len(rows) == bands:
            assert float(rows.norm()) == pytest.approx(clip, rel=1e-3)


def test_the_ledger_says_what_was_done_and_the_samples_agree() -> None:
    handle, bands = _handle(_latents(), epsilon=2.0), 4
    schedule = with_bands(LaneSchedule(0.05, 50, 0.5, 0.0), handle, bands)
    params = _params()
    _gradients(CorrelatedLanes(params, [handle], [schedule], bands), params)
    (mechanism,) = handle.ledger.mechanisms
    assert (mechanism.count, mechanism.sampling_rate, mechanism.sensitivity) == (13, 0.2, 0.5)
    assert mechanism.noise_multiplier == schedule.noise_multiplier > 0
    assert 1.98 <= compose([mechanism], 1e-6).epsilon <= 2.0
    assert handle.ledger.inclusions[0]["steps"] == 12
    assert check_inclusions(handle.ledger) == []


def test_one_band_is_plain_dp_sgd() -> None:
    schedule, params = LaneSchedule(0.1, 40, 0.5, 2.0), _params()
    banded, plain = _handle(_latents()), _handle(_latents())
    found = _gradients(CorrelatedLanes(params, [banded], [schedule], 1), params)
    expected = _gradients(DPSGDLanes(params, [plain], [schedule]), params)
    assert torch.equal(found, expected)
    assert banded.ledger == plain.ledger


def test_a_record_joins_only_its_groups_steps_and_at_the_rate_of_the_ledger() -> None:
    size, bands, rate, steps = 50, 4, 0.3, 40 * 32
    sampler = CyclicSampler(size, rate, bands, SeededSource("test"))
    counts = torch.zeros(size)
    for first in range(0, steps, 30):  # blocks that end within rounds
        block = sampler.block(min(30, steps - first))
        for turn, batch in enumerate(block.records.split(block.counts.tolist())):
            assert (batch % bands == (first + turn) % bands).all()
            counts[batch] += 1
    rounds = steps / bands
    assert float(counts.mean()) == pytest.approx(rounds * rate, rel=0.02)
    assert float(counts.var()) == pytest.approx(rounds * rate * (1 - rate), rel=0.5)


def _all_of(group: int) -> tuple[Tensor, Tensor]:
    records = torch.arange(group, 100, 2)[None]
    return records, torch.ones_like(records, dtype=torch.bool)


def test_samples_that_are_not_poisson_are_found() -> None:
    """Every round takes half of the records, which its rate says, but always the same ones."""
    handle = _handle(_latents(100))
    counter = RoundCounter(100, [0.5], 2)
    mechanism = Mechanism(name="m", noise_multiplier=1, sampling_rate=0.5, count=50)
    handle._session.use(mechanism, counter.figures)
    for step in range(100):
        records, included = _all_of(step % 2)
        counter.add(records[:, ::2], included[:, ::2])
    problems = check_inclusions(handle.ledger)
    assert any("spread over records" in problem for problem in problems)


def test_a_record_of_another_group_is_refused() -> None:
    counter = RoundCounter(100, [0.5], 2)
    counter.add(*_all_of(0))
    with pytest.raises(DpbenchError, match="another group"):
        counter.add(*_all_of(0))


@pytest.mark.parametrize("steps", [8, 10])
def test_no_more_steps_than_accounted(steps: int) -> None:
    use = _use(square_root_bands(4), steps, 1.0)
    for _ in range(steps):
        use.begin()
        use.release(torch.zeros(3))
    with pytest.raises(NotAccounted):
        use.begin()
    with pytest.raises(NotAccounted):
        use.release(torch.zeros(3))


def test_one_release_a_step() -> None:
    use = _use(square_root_bands(4), 8, 1.0)
    use.begin()
    use.release(torch.zeros(3))
    total = torch.ones(3)
    with pytest.raises(NotAccounted):
        use.release(total)
    assert torch.equal(total, torch.ones(3))


def test_more_steps_than_rounds_hold_are_refused() -> None:
    mechanism = Mechanism(name="m", noise_multiplier=1, count=2)
    with pytest.raises(NotAccounted, match="more than its rounds"):
        CorrelatedUse(_session(_latents()).use(mechanism), 9, square_root_bands(4))


def test_a_column_longer_than_one_is_refused() -> None:
    with pytest.raises(DpbenchError, match="norm 1"):
        _use((1.0, 0.5), 8, 1.0)


@pytest.mark.parametrize(("rate", "steps"), [(0.3, 40), (0.1, 3)])
def test_schedules_that_fill_no_round_are_refused(rate: float, steps: int) -> None:
    with pytest.raises(DpbenchError, match="4 bands"):
        with_bands(LaneSchedule(rate, steps, 1.0, 0.0), _handle(_latents(), 1.0), 4)


def test_a_replay_is_refused_and_an_audit_follows_its_canaries() -> None:
    schedule, params = LaneSchedule(0.25, 8, 0.5, 0.0), _params()
    with closing(Recording()) as tape:
        taped = PrivateSession(
            _latents(), Budget(math.inf, 1e-6), 0.5, Context(0), noise_seed=0, tape=tape
        )
        with pytest.raises(DpbenchError, match="cannot be replayed"):
            CorrelatedLanes(params, [taped.handle], [schedule], 4)
    canaries = torch.stack([_latents()[3], 9 - _latents()[3]])
    audited = PrivateSession(
        _latents(), Budget(math.inf, 1e-6), 0.5, Context(0), noise_seed=0, canaries=canaries
    )
    _gradients(CorrelatedLanes(params, [audited.handle], [schedule], 4), params)
    assert audited.evidence is not None
    inside, outside = audited.evidence.alignment
    assert inside > abs(outside)
