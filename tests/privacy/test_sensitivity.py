"""One record replaced by the null record moves every sum by at most its clip."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dpbench.api import Context
from dpbench.privacy.dp_sgd import PrivateGradient
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, clipped_sum
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.randomness import SecureSource
from dpbench.privacy.session import PrivateSession

CLIP = 0.7
Z = 3 * torch.randn(60, 4, generator=torch.Generator().manual_seed(5))
NET = LaneMLP((4, 8, 4))


class Totals:
    """A tape that keeps the sums before noise, and answers with zeros: nothing learns."""

    def __init__(self) -> None:
        self.seen: list[tuple[Mechanism, Tensor]] = []

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        self.seen.append((mechanism, total))
        noisy()
        return torch.zeros_like(total)

    def part(self, division: int, number: int) -> Totals:
        return self


def _sum(private: PrivateLatents) -> None:
    private.release_sum(lambda z: 1 / z, clip=CLIP, noise_multiplier=1.0, name="sum")


def _count(private: PrivateLatents) -> None:
    private.noisy_count(lambda z: (z[:, 0] > 0).long(), 2, noise_multiplier=1.0, name="count")


def _grouped(private: PrivateLatents) -> None:
    def contribution(z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.softmax(z[:, :3], 1), torch.cat([torch.ones_like(z[:, :1]), z], 1)

    release_grouped_sum(private, contribution, clip=CLIP, noise_multiplier=1.0, name="grouped")


def _loss(module: nn.Module, batch: Tensor) -> Tensor:
    return (module(batch) - batch).square().sum(1)


def _module(private: PrivateLatents, engine: str) -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    gradient = PrivateGradient(
        private,
        module,
        _loss,
        sampling_rate=0.7,
        steps=4,
        engine=engine,  # type: ignore[arg-type]
    )
    for _ in range(4):
        gradient.step()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def _functorch(private: PrivateLatents) -> None:
    _module(private, "functorch")


def _opacus(private: PrivateLatents) -> None:
    _module(private, "opacus")


def _lanes(private: PrivateLatents, fixed: bool = False) -> None:
    params = LaneBuffer.zeros(NET.layers, 1)
    params.initialise([torch.Generator().manual_seed(0)])
    engine = DPSGDLanes(params, [private], [LaneSchedule(0.7, 4, CLIP, 1.0)], fixed=fixed)

    def traces(x: Tensor) -> list[LinearTrace]:
        tape = NET.forward(params, x)
        return NET.backward(params, tape, tape.output - x)[0]

    for _ in range(4):
        assert torch.isfinite(engine.gradient(traces).flat).all()


def _fixed_lanes(private: PrivateLatents) -> None:
    _lanes(private, fixed=True)


def _grouped_from_the_first(private: PrivateLatents) -> None:
    centre: list[Tensor] = []

    def contribution(z: Tensor) -> tuple[Tensor, Tensor]:
        centre.append(z.nan_to_num().mean(0))
        return torch.ones_like(z[:, :1]), z - centre[0]

    release_grouped_sum(private, contribution, clip=CLIP, noise_multiplier=1.0, name="grouped")


class _Centred(nn.Module):
    """Keeps the mean of its first batch, as data-dependent initialisations do."""

    mean: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.detach().mean(0)
        return x - self.mean


def _opacus_from_the_first(private: PrivateLatents) -> None:
    module = nn.Sequential(_Centred(), nn.Linear(4, 4, bias=False))
    nn.init.eye_(module[1].weight)  # type: ignore[arg-type]

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        return module(batch).square().sum(1)

    gradient = PrivateGradient(private, module, loss, sampling_rate=0.7, steps=2, engine="opacus")
    for _ in range(2):
        gradient.step()


MECHANISMS = [
    _sum, _count, _grouped, _functorch, _opacus, _lanes, _fixed_lanes,
    _grouped_from_the_first, _opacus_from_the_first,
]  # fmt: skip
Use = Callable[[PrivateLatents], None]


def _totals(use: Use, latents: Tensor) -> list[tuple[Mechanism, Tensor]]:
    tape = Totals()
    session = PrivateSession(
        latents, Budget(math.inf, 1e-6, 1.0), CLIP, Context(0), noise_seed=3, tape=tape
    )
    use(session.handle)
    return tape.seen


class Products(TorchDispatchMode):
    """Keeps the precision that the last matrix product before now was allowed."""

    last = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.mv, torch.ops.aten.bmm):
            mkldnn: Any = torch.backends.mkldnn
            cuda = torch.backends.cuda.matmul.fp32_precision
            self.last = f"{cuda}, {mkldnn.matmul.fp32_precision}, {args[0].dtype}"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("use", "autocast"),
    [*((use, False) for use in (_grouped, _functorch, _opacus, _lanes, _fixed_lanes)),
     (_grouped, True)],
)  # fmt: skip
def test_bounded_rows_are_summed_in_full_whatever_a_plugin_allows(use: Use, autocast: bool) -> None:
    products, found = Products(), set[str]()

    class Tape(Totals):
        def release(self, *args: Any) -> Tensor:
            found.add(products.last)
            assert args[1].dtype in (torch.float32, torch.float64)
            return super().release(*args)

    session = PrivateSession(
        Z, Budget(math.inf, 1e-6, 1.0), CLIP, Context(0), noise_seed=3, tape=Tape()
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with products, torch.autocast("cpu", enabled=autocast):
            use(session.handle)
    finally:
        torch.set_float32_matmul_precision(before)
    assert found == {"ieee, ieee, torch.float32"}


def test_secret_noise_is_added_before_anything_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(SecureSource, "normal", lambda self, shape, device, dtype: noise.to(dtype))
    budget = Budget(1.0, 1e-6)
    session = PrivateSession(Z, budget, CLIP, Context(0), noise_seed=3, secure_rng=True)
    use = session.use(Mechanism(name="sum", noise_multiplier=1.1, sensitivity=CLIP))
    use.begin()
    total = 3 * noise.flip(0).float()
    std = use.mechanism.noise_std
    assert torch.equal(use.release(total.clone()), (total.double() + std * noise).float())
    assert not torch.equal(total + std * noise.float(), (total.double() + std * noise).float())


def _with(record: int, value: float) -> Tensor:
    latents = Z.clone()
    latents[record, 1] = value
    return latents


@pytest.mark.parametrize("use", MECHANISMS)
def test_one_record_moves_every_sum_by_at_most_the_sensitivity(use: Use) -> None:
    all_in, moved = _totals(use, Z), False
    for record in (0, 20, 59):
        without = _totals(use, _with(record, math.nan))
        for (mechanism, total), (other, rest) in zip(all_in, without, strict=True):
            assert mechanism == other
            difference = float((total - rest).double().norm())
            assert difference <= mechanism.sensitivity * (1 + 1e-4)
            moved = moved or difference > 0.5 * mechanism.sensitivity
    assert moved


def test_what_lanes_keep_of_a_first_batch_is_not_seen() -> None:
    def centred(private: PrivateLatents) -> None:
        params = LaneBuffer.zeros(NET.layers, 1)
        params.initialise([torch.Generator().manual_seed(0)])
        engine = DPSGDLanes(params, [private], [LaneSchedule(1.0, 4, CLIP, 1.0)])
        seen: list[Tensor] = []

        def traces(x: Tensor) -> list[LinearTrace]:
            seen.append(x.mean(1, keepdim=True))
            tape = NET.forward(params, x - seen[0])
            return NET.backward(params, tape, tape.output - x)[0]

        for _ in range(4):
            engine.gradient(traces)

    pairs = zip(
        _totals(centred, _with(20, 1e3)), _totals(centred, _with(20, math.nan)), strict=True
    )
    assert max(float((total - rest).norm()) for (_, total), (_, rest) in pairs) > 2 * CLIP


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("use", MECHANISMS)
def test_a_record_that_is_not_finite_contributes_nothing(use: Use, value: float) -> None:
    without = _totals(use, _with(20, math.nan))
    for (_, total), (_, rest) in zip(_totals(use, _with(20, value)), without, strict=True):
        assert torch.isfinite(total).all()
        assert torch.equal(total, rest)


@pytest.mark.parametrize("use", [_functorch, _opacus, _lanes, _fixed_lanes])
def test_a_record_whose_gradient_overflows_contributes_nothing(use: Use) -> None:
    without = _totals(use, _with(20, math.nan))
    for (_, total), (_, rest) in zip(_totals(use, _with(20, 3e38)), without, strict=True):
        assert torch.isfinite(total).all()
        torch.testing.assert_close(total, rest)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("may_wait", [True, False])
def test_an_infinite_activation_leaves_the_other_gradients_alone(
    value: float, may_wait: bool
) -> None:
    inputs, delta = Z[None, :, :].clone(), torch.ones(1, 60, 2)
    clip, everyone = torch.tensor([[CLIP]]), torch.ones(1, 60)
    expected, found = (LaneBuffer.zeros([(4, 2)], 1) for _ in range(2))
    rest = everyone.clone()
    rest[0, 7:9] = 0
    clipped_sum([LinearTrace(0, inputs, delta)], clip, rest, expected, may_wait)
    inputs[0, 7, 1] = delta[0, 8, 0] = value
    clipped_sum([LinearTrace(0, inputs, delta)], clip, everyone, found, may_wait)
    torch.testing.assert_close(found.flat, expected.flat)


def test_null_records_are_drawn_like_any_other() -> None:
    for latents in (Z, _with(20, math.nan), torch.full_like(Z, math.nan)):
        session = PrivateSession(latents, Budget(1.0, 1e-6), CLIP, Context(0), noise_seed=3)
        _lanes(session.handle)
        assert session.ledger.inclusions[0]["total"] == pytest.approx(0.7 * 4 * 60, rel=0.2)
        assert session.handle.size == 60


def test_a_null_record_is_a_row_of_zeros_to_whoever_takes_raw_latents() -> None:
    session = PrivateSession(_with(20, math.nan), Budget(1.0, 1e-6), CLIP, Context(0), noise_seed=3)
    latents = session.handle.raw([Mechanism(name="own", noise_multiplier=1.0)])
    assert torch.equal(latents[20], torch.zeros(4))
    assert torch.equal(latents[19], Z[19])
