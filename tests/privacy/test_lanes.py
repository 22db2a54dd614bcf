"""The lane engine against Opacus, and each lane against itself alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from dpbench.api import Context
from dpbench.privacy.accounting import compose
from dpbench.privacy.dp_sgd import clipped_gradient_sum, train
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lane_optim import LaneAdam
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, clipped_sum
from dpbench.privacy.ledger import check_inclusions
from dpbench.privacy.reference import LinearStack
from dpbench.privacy.session import PrivateSession

ACTIVATIONS = [
    Activation("leaky_relu", slope=0.2),
    Activation("tanh"),
    Activation("tempered_sigmoid", scale=1.7, temperature=1.3, offset=0.6),
]


def _handle(
    latents: Tensor, epsilon: float = math.inf, clip: float = 1.0, seed: int = 0
) -> PrivateLatents:
    budget = Budget(epsilon, 1e-6)
    return PrivateSession(latents, budget, clip, Context(seed), noise_seed=seed).handle


def _latents(size: int = 300, dim: int = 6) -> Tensor:
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(7))


def _network(lanes: int, activation: Activation, seed: int = 0) -> tuple[LaneMLP, LaneBuffer]:
    net = LaneMLP((6, 16, 8, 6), activation)
    buffer = LaneBuffer.zeros(net.layers, lanes)
    buffer.initialise([torch.Generator().manual_seed(seed + lane) for lane in range(lanes)])
    return net, buffer


def _traces(net: LaneMLP, params: LaneBuffer, x: Tensor) -> list[LinearTrace]:
    """Gradient of half the squared error of reconstructing x."""
    tape = net.forward(params, x)
    return net.backward(params, tape, tape.output - x)[0]


def _module(net: LaneMLP, params: LaneBuffer, lane: int) -> nn.Module:
    stack = LinearStack(net.sizes, net.activation)
    with torch.no_grad():
        for k, linear in enumerate(stack.linears):
            assert isinstance(linear, nn.Linear)
            linear.weight.copy_(params.weights[k][lane].T)
            linear.bias.copy_(params.biases[k][lane, 0])
    return stack


def _loss(module: nn.Module, batch: Tensor) -> Tensor:
    return 0.5 * (module(batch) - batch).square().sum(1)


def _in_lane_order(module: nn.Module, flat: Tensor) -> Tensor:
    """Module gradients (weights, bias, weights, ...) in the order of a lane buffer."""
    sizes = [p.numel() for p in module.parameters()]
    pairs = zip(flat.split(sizes), module.parameters(), strict=True)
    parts = [part.view_as(p) for part, p in pairs]
    return torch.cat([(p.T if p.ndim == 2 else p).reshape(-1) for p in parts])


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
@pytest.mark.parametrize("clip", [0.05, 1.0, 50.0])
def test_clipped_sum_equals_opacus(activation: Activation, clip: float) -> None:
    lanes = 3
    net, params = _network(lanes, activation)
    x = torch.randn(lanes, 40, 6, generator=torch.Generator().manual_seed(1))
    out = params.like()
    clips = torch.full((lanes, 1), clip)
    clipped_sum(_traces(net, params, x), clips, torch.ones(lanes, 40), out)
    for lane in range(lanes):
        module = GradSampleModule(_module(net, params, lane), loss_reduction="sum")
        expected = _in_lane_order(
            module, clipped_gradient_sum(module, _loss, x[lane], clip, "opacus")
        )
        scale = float(expected.norm())
        torch.testing.assert_close(out.flat[lane], expected, rtol=1e-5, atol=1e-5 * scale)


def test_functorch_sums_equal_opacus() -> None:
    net, params = _network(1, ACTIVATIONS[0])
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    plain = clipped_gradient_sum(_module(net, params, 0), _loss, x, 0.3, "functorch")
    module = GradSampleModule(_module(net, params, 0), loss_reduction="sum")
    opacus = clipped_gradient_sum(module, _loss, x, 0.3, "opacus")
    torch.testing.assert_close(plain, opacus, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("clip", [0.05, 1.0, 50.0])
def test_a_record_with_several_rows_is_clipped_as_one(clip: float) -> None:
    net, params = _network(2, ACTIVATIONS[1])
    records, draws = 12, 5
    x = torch.randn(2, records * draws, 6, generator=torch.Generator().manual_seed(1))
    x[:, :draws] = x[:, :1]  # rows that all point the same way
    out, expected, one = params.like(), params.like(), params.like()
    clips = torch.full((2, 1), clip)
    clipped_sum(_traces(net, params, x), clips, torch.ones(2, records), out)
    for record in range(records):
        rows = x[:, record * draws : (record + 1) * draws]
        for trace in _traces(net, params, rows):
            torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=one.weights[trace.layer])
            torch.sum(trace.delta, 1, keepdim=True, out=one.biases[trace.layer])
        norms = one.flat.norm(dim=1, keepdim=True)
        expected.flat.add_(one.flat * (clip / norms).clamp_max(1))
    torch.testing.assert_close(out.flat, expected.flat, rtol=1e-4, atol=1e-5)


def test_rows_that_cancel_stay_within_the_clip() -> None:
    clip, out = 1e-4, LaneBuffer.zeros([(4, 3)], 1)
    inputs = 100 * torch.ones(1, 2, 4)
    delta = torch.tensor([[[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0 + 1e-6]]])
    trace = LinearTrace(0, inputs, delta)
    clipped_sum([trace], torch.tensor([[clip]]), torch.ones(1, 1), out)
    assert float(out.flat.norm()) <= clip


def test_a_record_one_row_of_which_is_not_finite_adds_nothing() -> None:
    net, params = _network(1, ACTIVATIONS[0])
    x = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(1))
    bad = torch.cat([x, x[:, :2]], 1)
    bad[0, 7, 0] = math.nan
    out, expected = params.like(), params.like()
    clip = torch.tensor([[0.3]])
    clipped_sum(_traces(net, params, x), clip, torch.ones(1, 3), expected)
    clipped_sum(_traces(net, params, bad), clip, torch.ones(1, 4), out)
    torch.testing.assert_close(out.flat, expected.flat)


def test_one_record_moves_the_sum_by_at_most_the_clip() -> None:
    clip = 0.3
    net, params = _network(1, ACTIVATIONS[0])
    x = 5 * torch.randn(1, 50, 6, generator=torch.Generator().manual_seed(1))
    with_all, without = params.like(), params.like()
    weight = torch.ones(1, 50)
    clipped_sum(_traces(net, params, x), torch.tensor([[clip]]), weight, with_all)
    for record in range(0, 50, 7):
        dropped = weight.clone()
        dropped[0, record] = 0
        clipped_sum(_traces(net, params, x), torch.tensor([[clip]]), dropped, without)
        assert float((with_all.flat - without.flat).norm()) <= clip * (1 + 1e-4)


def _train(
    privates: Sequence[PrivateLatents], schedules: Sequence[LaneSchedule], rate: float = 1e-2
) -> Tensor:
    net = LaneMLP((6, 16, 8, 6), ACTIVATIONS[0])
    params = LaneBuffer.zeros(net.layers, len(privates))
    params.initialise([p.context.generator("init") for p in privates])
    engine = DPSGDLanes(params, privates, schedules)
    adam = LaneAdam(params.flat)
    while (active := engine.active) > 0:
        head = params.head(active)
        grads = engine.gradient(lambda x, head=head: _traces(net, head, x))  # type: ignore[misc]
        adam.step(grads.flat, [rate] * active)
    return params.flat


def test_a_lane_gives_the_same_numbers_alone_and_beside_others() -> None:
    latents = _latents()
    schedules = [
        LaneSchedule(rate, steps, clip, noise)
        for steps, rate, clip, noise in [
            (70, 0.1, 1.0, 1.5),
            (40, 0.3, 0.1, 0.0),
            (40, 1.0, 0.5, 3.0),
            (7, 0.02, 2.0, 0.7),
        ]
    ]
    together = _train([_handle(latents, seed=s) for s in range(4)], schedules)
    for lane in range(4):
        alone = _train([_handle(latents, seed=lane)], [schedules[lane]])
        torch.testing.assert_close(together[lane], alone[0], rtol=1e-4, atol=1e-5)


def test_a_lane_that_diverges_disturbs_no_other() -> None:
    schedule = LaneSchedule(0.2, 10, 1.0, 0.5)
    wild = LaneSchedule(0.2, 10, 1e19, 1e19)
    good = _latents()
    both = _train([_handle(good, seed=0), _handle(good, seed=1)], [schedule, wild])
    alone = _train([_handle(good, seed=0)], [schedule])
    assert not torch.isfinite(both[1]).all()
    torch.testing.assert_close(both[0], alone[0], rtol=1e-4, atol=1e-5)


def test_the_ledger_states_what_was_done_and_the_samples_agree() -> None:
    handle = _handle(_latents(), epsilon=2.0, clip=0.5)
    sigma = handle.noise_multiplier(0.1, 50)
    _train([handle], [LaneSchedule(0.1, 50, 0.5, sigma)])
    (mechanism,) = handle.ledger.mechanisms
    assert (mechanism.count, mechanism.sampling_rate, mechanism.sensitivity) == (50, 0.1, 0.5)
    assert check_inclusions(handle.ledger) == []
    assert 1.9 < compose(handle.ledger.mechanisms, 1e-6).epsilon <= 2.0


def test_noise_has_the_stated_scale_and_differs_between_lanes_and_steps() -> None:
    latents = torch.zeros(100, 6)
    net, params = _network(2, ACTIVATIONS[0])
    params.flat.zero_()
    schedule = LaneSchedule(0.5, 40, 0.25, 2.0)
    engine = DPSGDLanes(params, [_handle(latents, seed=s) for s in (0, 1)], [schedule] * 2)
    draws = []
    for _ in range(40):
        grads = engine.gradient(lambda x: _traces(net, params, x))
        draws.append(grads.flat.clone() * 50 / (0.25 * 2.0))
    noise = torch.stack(draws)
    assert abs(float(noise.std()) - 1) < 0.02
    rows = noise.flatten(0, 1)
    correlation = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlation.abs().max() < 6 / math.sqrt(rows.shape[1])


@pytest.mark.parametrize("engine", ["functorch", "opacus"])
def test_without_noise_training_follows_the_reference(engine: str) -> None:
    latents = _latents()
    schedule = LaneSchedule(0.2, 60, 0.5, 0.0)
    lanes = _train([_handle(latents, clip=0.5)], [schedule])
    net = LaneMLP((6, 16, 8, 6), ACTIVATIONS[0])
    start = LaneBuffer.zeros(net.layers, 1)
    handle = _handle(latents, clip=0.5)
    start.initialise([handle.context.generator("init")])
    module = _module(net, start, 0)
    adam = torch.optim.Adam(module.parameters(), 1e-2, betas=(0.5, 0.9))
    train(handle, module, _loss, adam, sampling_rate=0.2, steps=60, engine=engine)  # type: ignore[arg-type]
    end = LaneBuffer(net.layers, lanes)
    with torch.no_grad():
        ours = float(_loss(_module(net, end, 0), latents).mean())
        theirs = float(_loss(module, latents).mean())
        before = float(_loss(_module(net, start, 0), latents).mean())
    assert theirs < 0.9 * before
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert check_inclusions(handle.ledger) == []
