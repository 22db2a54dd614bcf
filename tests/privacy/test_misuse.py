"""What a generator cannot do by mistake: each of these once gave a wrong epsilon."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpbench.api import Context, derive_seed
from dpbench.privacy.contributions import NotPerRecord
from dpbench.privacy.dp_sgd import PrivateGradient
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.ledger import Ledger, Mechanism, check_inclusions
from dpbench.privacy.mechanism import NotAccounted
from dpbench.privacy.session import PrivateSession

Z = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))


def session(noise_seed: int = 9, **options: Any) -> PrivateSession:
    budget = Budget(1.0, 1e-6)
    return PrivateSession(Z, budget, 1.0, Context(seed=1), noise_seed=noise_seed, **options)


def release(own: PrivateSession, noise: float = 1.0) -> Tensor:
    return own.handle.release_sum(lambda z: z, clip=1.0, noise_multiplier=noise, name="sum")


def test_a_ledger_that_is_overwritten_changes_nothing() -> None:
    own = session()
    release(own)
    before = own.spent
    own.handle.ledger.mechanisms.clear()
    own.handle.ledger.mechanisms.append(Mechanism(name="sum", noise_multiplier=1e6))
    with pytest.raises(AttributeError, match="cannot be changed"):
        own.handle.ledger = Ledger()  # type: ignore[misc]
    assert own.spent == before
    assert [m.noise_multiplier for m in own.ledger.mechanisms] == [1.0]


@pytest.mark.parametrize("field", ["epsilon", "delta", "noise_multiplier"])
def test_a_budget_cannot_be_assigned(field: str) -> None:
    own = session()
    for attempt in (setattr, object.__setattr__):
        with pytest.raises(AttributeError):
            attempt(own.handle.budget, field, 0.5)
    with pytest.raises(AttributeError):
        own.handle.budget = Budget(1e9, 0.5)  # type: ignore[misc]
    release(own)
    assert own.spent.delta == 1e-6


def test_a_copy_of_a_handle_resets_neither_noise_nor_ledger() -> None:
    own = session()
    first = release(own)
    for again in (copy.copy(own.handle), copy.deepcopy(own.handle)):
        assert again is own.handle
    with pytest.raises(TypeError):
        dataclasses.replace(own.handle)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(own.handle)
    assert not torch.equal(release(own), first)
    assert own.ledger.mechanisms[0].count == 2


def _guesses(context: Context) -> list[torch.Generator]:
    names = ["private-noise", "sum", "private-noise\x1fsum\x1f0", "noise"]
    seeds = [derive_seed(context.seed, "private-noise", "sum", 0), context.seed]
    return [context.generator(n) for n in names] + [torch.Generator().manual_seed(s) for s in seeds]


def test_noise_cannot_be_regenerated_from_the_context() -> None:
    own = session()
    noise = (release(own) - release(session(), 0.0)).double()
    for guess in _guesses(own.handle.context):
        drawn = torch.randn(3, generator=guess, dtype=torch.float64)
        assert not torch.allclose(drawn, noise, atol=1e-3)


def test_sessions_of_other_noise_seeds_share_no_noise() -> None:
    assert not torch.equal(release(session(1)), release(session(2)))
    assert torch.equal(release(session(1)), release(session(1)))


def _lanes(own: PrivateSession, steps: int = 3) -> DPSGDLanes:
    params = LaneBuffer.zeros([(3, 1)], 1)
    return DPSGDLanes(params, [own.handle], [LaneSchedule(0.5, steps, 1.0, 1.0)])


def _traces(batch: Tensor) -> list[LinearTrace]:
    return [LinearTrace(0, batch, torch.ones(*batch.shape[:2], 1))]


def test_a_second_gradient_within_one_accounted_step_is_refused() -> None:
    engine = _lanes(session())
    engine.begin()
    engine.compute(_traces)
    with pytest.raises(NotAccounted, match="second release within one accounted step"):
        engine.compute(_traces)


def test_a_gradient_before_the_first_step_or_after_the_last_is_refused() -> None:
    engine = _lanes(session(), steps=2)
    engine.gradient(_traces)
    with pytest.raises(NotAccounted):
        engine.compute(_traces)
    engine.gradient(_traces)
    assert engine.active == 0


def _gradient(own: PrivateSession, module: nn.Module, loss: Any, **options: Any) -> PrivateGradient:
    settings: dict[str, Any] = {"sampling_rate": 0.5, "steps": 2, "engine": "opacus", **options}
    return PrivateGradient(own.handle, module, loss, **settings)


def _plain(module: nn.Module, batch: Tensor) -> Tensor:
    return module(batch).square().sum(1)


@pytest.mark.parametrize("engine", ["functorch", "opacus"])
def test_more_steps_than_accounted_are_refused(engine: str) -> None:
    gradient = _gradient(session(), nn.Linear(3, 2), _plain, engine=engine)
    for _ in range(2):
        gradient.step()
    with pytest.raises(NotAccounted, match="only 2 private steps"):
        gradient.step()


def test_fewer_steps_than_accounted_are_no_violation() -> None:
    own = session()
    _gradient(own, nn.Linear(3, 2), _plain, steps=40).step()
    assert check_inclusions(own.ledger) == []
    assert own.ledger.inclusions[0]["steps"] == 1


def test_batch_statistics_in_a_loss_are_refused() -> None:
    def centred(module: nn.Module, batch: Tensor) -> Tensor:
        return (module(batch) - module(batch).mean(0)).square().sum(1) * batch.std()

    with pytest.raises(NotPerRecord):
        _gradient(session(), nn.Linear(3, 2), centred).step()


@pytest.mark.parametrize("engine", ["functorch", "opacus"])
def test_parameters_outside_the_module_get_no_gradient(engine: str) -> None:
    outside = nn.Parameter(torch.ones(3))
    module = nn.Linear(3, 2)

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        return module(batch * outside).square().sum(1)

    _gradient(session(), module, loss, engine=engine).step()
    assert outside.grad is None
    for p in module.parameters():
        assert p.grad is not None
        assert not p.grad.requires_grad


def test_inclusions_are_counted_where_rows_are_used() -> None:
    own = session()
    engine = _lanes(own, steps=100)
    assert own.ledger.inclusions[0]["total"] == 0
    engine.begin()  # draws a block of steps ahead
    assert own.ledger.inclusions[0]["total"] == 0
    batch = engine.compute(_traces)
    engine.end()
    assert batch is not None
    assert own.ledger.inclusions[0]["steps"] == 1
    assert 60 < own.ledger.inclusions[0]["total"] < 140


class Cassette:
    """Records releases; plays them back once rewound."""

    def __init__(self) -> None:
        self.totals: list[tuple[Mechanism, Tensor]] = []
        self.answers: list[Tensor] = []
        self.playing: list[Tensor] | None = None

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Any) -> Tensor:
        self.totals.append((mechanism, total))
        if self.playing is not None:
            return self.playing.pop(0)
        self.answers.append(noisy())
        return self.answers[-1]


def _everything(own: PrivateSession) -> list[Tensor]:
    module = nn.Linear(3, 2)
    torch.nn.init.ones_(module.weight)
    torch.nn.init.zeros_(module.bias)
    _gradient(own, module, _plain).step()
    grads = _lanes(own).gradient(_traces).flat.clone()
    assert module.weight.grad is not None
    return [release(own), grads, module.weight.grad]


def test_a_tape_hears_every_release_and_answers_in_its_place() -> None:
    tape = Cassette()
    first = _everything(session(tape=tape))
    for one, plain in zip(first, _everything(session()), strict=True):
        assert torch.equal(one, plain)
    tape.playing = list(tape.answers)
    second = _everything(session(noise_seed=1, tape=tape))
    assert not tape.playing
    for one, again in zip(first, second, strict=True):
        assert torch.equal(one, again)
    names = [mechanism.name for mechanism, _ in tape.totals]
    assert names == ["dp-sgd", "dp-sgd", "sum"] * 2
    assert torch.equal(tape.totals[2][1], tape.totals[5][1])


def test_free_draws_come_from_the_sessions_own_streams() -> None:
    pytest.importorskip("randomgen", reason="the extra 'secure' is not installed")
    first, second = (session().handle.draws("code").normal([50]) for _ in range(2))
    assert torch.equal(first, second)
    secure = [session(secure_rng=True).handle.draws("code").normal([50]) for _ in range(2)]
    assert not torch.equal(*secure)
    assert math.isfinite(float(secure[0].sum()))
