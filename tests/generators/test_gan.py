"""The GAN: its penalties, its privacy bound, its engines, and what it learns."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.generators.gan import GAN
from dpbench.generators.gan_lanes import AdversarialLoss, add_free_gradient, weight_clip_bound
from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP
from dpbench.privacy.ledger import check_inclusions
from dpbench.privacy.reference import activate

from .small import DIM, fit, handle, public_latents

ACTIVATIONS = [
    Activation("leaky_relu"),
    Activation("tanh"),
    Activation("tempered_sigmoid", scale=1.7, temperature=1.3, offset=0.6),
]


def _critic(activation: Activation, lanes: int = 2) -> tuple[LaneMLP, LaneBuffer]:
    net = LaneMLP((5, 7, 6, 1), activation)
    params = LaneBuffer.zeros(net.layers, lanes)
    params.initialise([torch.Generator().manual_seed(lane) for lane in range(lanes)])
    params.flat.mul_(2)
    return net, params


def _plain(net: LaneMLP, flat: Tensor, x: Tensor) -> Tensor:
    params = LaneBuffer(net.layers, flat)
    for k in range(len(net.layers)):
        x = torch.baddbmm(
            params.biases[k], x if k == 0 else activate(net.activation, x), params.weights[k]
        )
    return x


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
@pytest.mark.parametrize("kind", ["logistic", "wasserstein"])
def test_loss_and_penalty_gradients_equal_autograd(activation: Activation, kind: str) -> None:
    net, params = _critic(activation)
    x = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(3))
    flat, point = params.flat.clone().requires_grad_(), x.clone().requires_grad_()
    f = _plain(net, flat, point)
    (slopes,) = torch.autograd.grad(f.sum(), point, create_graph=True)
    value = torch.nn.functional.softplus(f) if kind == "logistic" else f
    total = value.mean(1).sum() + 0.35 * slopes.square().sum(-1).mean(1).sum()
    (expected,) = torch.autograd.grad(total, flat)
    out, tape = params.like(), net.forward(params, x)
    slope = AdversarialLoss(kind).fake(tape.output)  # type: ignore[arg-type]
    add_free_gradient(net, params, x, slope, tape, None, 0.7, out)
    torch.testing.assert_close(out.flat, expected, rtol=1e-4, atol=1e-5)


def test_clipping_generated_samples_bounds_their_mean_gradient() -> None:
    net, params = _critic(ACTIVATIONS[0])
    x = 10 * torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(3))
    out, tape = params.like(), net.forward(params, x)
    clip = torch.full((2, 1), 0.01)
    add_free_gradient(net, params, x, torch.ones_like(tape.output), tape, clip, 0.0, out)
    assert (out.flat.norm(dim=1) <= 0.01 * 1.0001).all()


def test_weight_clipping_bound_is_the_papers_and_holds() -> None:
    net, params = _critic(Activation("tanh"))
    clip = 0.05
    bound = weight_clip_bound(net, clip)
    assert bound == pytest.approx(2 * clip * (7 * 6 + 6 * 1))
    params.flat.uniform_(-1, 1, generator=torch.Generator().manual_seed(0)).clamp_(-clip, clip)
    x = torch.rand(2, 500, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1
    tape = net.forward(params, x)
    norms = torch.zeros(2, 500)
    for trace in net.backward(params, tape, torch.ones_like(tape.output))[0]:
        norms += trace.delta.square().sum(-1) * (1 + trace.inputs.square().sum(-1))
    assert 0 < float(norms.sqrt().max()) <= bound
    assert math.isinf(weight_clip_bound(LaneMLP((5, 7, 1), Activation()), clip))


def test_weight_clip_mode_states_the_bound_as_sensitivity() -> None:
    settings = {"bound": "weight-clip", "activation": "tanh", "loss": "wasserstein"}
    private = handle(10.0)
    model = fit(
        GAN,
        private,
        **settings,
        prior="normal",
        skip=False,
        penalty=0,
        weight_clip=0.01,
        critic_hidden=(8, 8),
        steps=6,
        batch=50,
    )
    (mechanism,) = private.ledger.mechanisms
    assert mechanism.sensitivity == pytest.approx(weight_clip_bound(model.critic, 0.01))


def test_weight_clip_mode_needs_a_bounded_activation() -> None:
    with pytest.raises(DpbenchError, match="bounded activation"):
        GAN(GAN.Params(bound="weight-clip", weight_clip=0.01), DIM)


@pytest.mark.parametrize("prior", ["mixture", "gaussian", "normal"])
def test_it_spends_its_budget_and_no_more(prior: str) -> None:
    private = handle(epsilon=3.0)
    fit(GAN, private, prior=prior, steps=30, batch=100)
    assert 2.9 < private.spent.epsilon <= 3.0
    assert check_inclusions(private.ledger) == []
    assert private.ledger.trust == "ledger"


def test_without_noise_it_learns_from_the_critic() -> None:
    """From a single Gaussian, which has mass between the clusters, towards the clusters."""
    model = fit(
        GAN,
        handle(clip=5.0),
        prior="gaussian",
        steps=600,
        batch=200,
        fakes=128,
        penalty=0.1,
        learning_rate=0.01,
        critic_steps=2,
    )
    rng = torch.Generator().manual_seed(0)
    start, made = model.mixture.sample(4000, rng), model.sample(4000, rng)
    between = [float((x[:, 0].abs() < 1).float().mean()) for x in (start, made)]
    assert between[1] < 0.6 * between[0]
    assert 0.1 < float((made[:, 0] > 0).float().mean()) < 0.6  # both clusters are there


def test_lanes_together_equal_lanes_alone() -> None:
    settings = GAN.Params(hidden=(16,), critic_hidden=(16,), batch=100, fakes=64)
    epsilons = [2.0, 1.0]
    models = [GAN(settings, DIM) for _ in epsilons]
    privates = [handle(e, seed=i) for i, e in enumerate(epsilons)]
    GAN.fit_lanes(models, privates, public_latents(), [p.context for p in privates])
    for i, (epsilon, model) in enumerate(zip(epsilons, models, strict=True)):
        alone = GAN(settings, DIM)
        private = handle(epsilon, seed=i)
        alone.fit(private, public_latents(), private.context)
        torch.testing.assert_close(alone.flat, model.flat, rtol=1e-3, atol=1e-3)


def test_engines_agree_without_noise() -> None:
    made = []
    for engine in ("lanes", "opacus"):
        model = fit(GAN, handle(seed=4), engine=engine, steps=25, batch=60, fakes=64)
        made.append(model.sample(50, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(made[0], made[1], rtol=1e-2, atol=1e-2)


def test_state_restores_the_samples() -> None:
    model = fit(GAN, handle(10.0), steps=5, batch=60, fakes=64)
    again = GAN(model.params, DIM)
    again.restore(model.state())
    draws = [m.sample(9, torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(draws[0], draws[1])


def test_pretraining_is_refused() -> None:
    with pytest.raises(ValidationError, match="pretrain_steps is for the VAE"):
        GAN.Params.model_validate({"prior": "normal", "pretrain_steps": 5})
