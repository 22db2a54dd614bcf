"""The VAE: its gradients, its start, its engines, and what it learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dpbench.generators import training_lane
from dpbench.generators.gan import GAN
from dpbench.generators.vae import VAE
from dpbench.generators.vae_lanes import VAEModule, VAENet
from dpbench.privacy.lane_nets import Activation, LaneBuffer
from dpbench.privacy.lanes import clipped_sum, release_noise
from dpbench.privacy.ledger import check_inclusions

from .small import DIM, fit, handle, private_latents, public_latents


@pytest.mark.parametrize("skip", [0.0, 0.9])
@pytest.mark.parametrize("name", ["leaky_relu", "tanh", "tempered_sigmoid"])
def test_written_out_gradients_equal_autograd(skip: float, name: str) -> None:
    net = VAENet(5, 5, (7,), Activation(name), skip, extra=3)
    params = net.initial([torch.Generator().manual_seed(0)], torch.device("cpu"))
    params.flat.add_(
        0.3 * torch.randn(params.flat.shape, generator=torch.Generator().manual_seed(1))
    )
    batch = torch.randn(1, 20, 8, generator=torch.Generator().manual_seed(2))
    module = VAEModule(net)
    with torch.no_grad():
        for k, linear in enumerate(module.linears):
            linear.weight.copy_(params.weights[k][0].T)
            linear.bias.copy_(params.biases[k][0, 0])
    same = torch.Generator().manual_seed(3)
    traces = net.traces(params, batch, 0.4, lambda out: out.normal_(generator=same))
    out = params.like()
    clipped_sum(traces, torch.tensor([[1e9]]), torch.ones(1, 20), out)
    noise = torch.randn(20, 5, generator=torch.Generator().manual_seed(3))
    module.loss(torch.cat([batch[0], noise], 1), module, 0.4).sum().backward()
    for k, linear in enumerate(module.linears):
        assert linear.weight.grad is not None
        torch.testing.assert_close(out.weights[k][0], linear.weight.grad.T, rtol=1e-4, atol=1e-4)


def test_written_out_gradients_of_scale_and_modes_equal_autograd() -> None:
    """The likelihood of a Gaussian output with learned variances under a learned mixture prior."""
    net = VAENet(5, 3, (7,), Activation("tanh"), noise=0.5, learned=True, modes=4)
    params = net.initial([torch.Generator().manual_seed(0)], torch.device("cpu"))
    params.biases[net.scale_layer].copy_(torch.linspace(-0.5, 0.5, 5))
    params.biases[net.tilt_layer].copy_(torch.linspace(-1, 1, 4))
    batch = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(3))
    weight = 0.5**2
    out = params.like()
    traces = net.traces(params, batch, weight, lambda empty: empty.copy_(noise))
    clipped_sum(traces, torch.tensor([[1e9]]), torch.ones(1, 20), out)
    net.add_normaliser(params, weight * len(batch[0]), out)
    flat = params.flat.clone().requires_grad_()
    free = LaneBuffer(net.layers, flat)
    mean, log_variance = _stack(free, 0, batch).split(3, -1)
    z = mean + (0.5 * log_variance).exp() * noise
    scale = 0.5 * free.biases[net.scale_layer].exp()
    output = torch.distributions.Normal(_stack(free, 2, z), scale)
    means = free.weights[net.tilt_layer][0].T
    logits = free.biases[net.tilt_layer][0, 0] + 0.5 * means.square().sum(1)
    prior = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits),
        torch.distributions.Independent(torch.distributions.Normal(means, 1.0), 1),
    )
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
    divergence = divergence + standard - prior.log_prob(z)
    loss = weight * (divergence - output.log_prob(batch).sum(-1))
    (expected,) = torch.autograd.grad(loss.sum(), flat)
    torch.testing.assert_close(out.flat, expected, rtol=1e-4, atol=1e-4)


def _stack(params: LaneBuffer, first: int, x: Tensor) -> Tensor:
    hidden = torch.baddbmm(params.biases[first], x, params.weights[first]).tanh()
    return torch.baddbmm(params.biases[first + 1], hidden, params.weights[first + 1])


def test_codes_come_from_the_learned_prior() -> None:
    net = VAENet(2, 1, (3,), Activation(), modes=2)
    params = net.initial([torch.Generator().manual_seed(0)], torch.device("cpu"))
    params.weights[net.tilt_layer].copy_(torch.tensor([[-4.0, 4.0]]))
    params.biases[net.tilt_layer].copy_(torch.tensor([0.0, 1.0]))
    rng = torch.Generator().manual_seed(1)
    noise, uniform = (torch.randn(1, 9000, 1, generator=rng), torch.rand(1, 9000, 2, generator=rng))
    z = net.draw_codes(params, noise, uniform)
    share = float((z > 0).float().mean())
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.02)
    assert float(z[z > 0].mean()) == pytest.approx(4, abs=0.1)


def test_alone_it_learns_modes_and_spread_without_a_released_prior() -> None:
    model = fit(VAE, handle(clip=1.0), steps=600, batch=200)
    made, real = model.sample(4000, torch.Generator().manual_seed(0)), private_latents()
    assert (made.mean(0) - real.mean(0)).norm() < 0.3
    assert 0.5 < float((made[:, 0] < 0).float().mean()) < 0.9
    assert (made[:, 0].abs() < 1).float().mean() < 0.15
    assert made[:, 1:].std(0).numpy() == pytest.approx(real[:, 1:].std(0).numpy(), abs=0.15)


@pytest.mark.parametrize("cls", [VAE, GAN])
def test_no_steps_are_the_released_start_alone(cls: type[VAE] | type[GAN]) -> None:
    private = handle(epsilon=3.0)
    model = fit(cls, private, prior="mixture", steps=0)
    rng = torch.Generator().manual_seed(0)
    made, start = model.sample(20_000, rng), model.mixture.sample(20_000, rng)
    assert (made.mean(0) - start.mean(0)).norm() < 0.1
    torch.testing.assert_close(torch.cov(made.T), torch.cov(start.T), atol=0.25, rtol=0.05)
    assert all(mechanism.name.startswith("prior") for mechanism in private.ledger.mechanisms)


@pytest.mark.parametrize("cls", [VAE, GAN])
def test_nothing_at_all_is_no_start(cls: type[VAE] | type[GAN]) -> None:
    with pytest.raises(ValidationError, match="steps = 0 needs a released prior"):
        cls.Params(steps=0)


def test_an_axis_may_name_the_automatic_number_of_steps() -> None:
    assert GAN.Params(steps="auto") == GAN.Params()


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "VAE"),
        ({"prior": "mixture"}, "VAE+mixture"),
        ({"prior": "gaussian"}, "VAE+gaussian"),
        ({"prior": "mixture", "steps": 0}, "VAE+mixture (start)"),
    ],
)
def test_the_label_names_a_released_prior(settings: dict[str, object], label: str) -> None:
    assert VAE.label_of(VAE.Params.model_validate(settings)) == label


def test_with_a_skip_it_starts_as_the_exact_model_of_a_standard_normal() -> None:
    net = VAENet(4, 4, (8,), Activation(), skip=0.8)
    params = net.initial([torch.Generator().manual_seed(0)], torch.device("cpu"))
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(1, 50_000, 4, generator=rng)
    made = net.decode(params, z, z[..., :0])[0] + 0.6 * torch.randn(50_000, 4, generator=rng)
    torch.testing.assert_close(torch.cov(made.T), torch.eye(4), atol=0.03, rtol=0)


@pytest.mark.parametrize("prior", ["mixture", "gaussian", "normal"])
def test_it_spends_its_budget_and_no_more(prior: str) -> None:
    private = handle(epsilon=3.0)
    fit(VAE, private, prior=prior, steps=30, batch=100)
    assert 2.9 < private.spent.epsilon <= 3.0
    assert check_inclusions(private.ledger) == []
    assert private.ledger.trust == "ledger"


@pytest.mark.parametrize("rounds", [0, 3])
def test_every_round_of_the_prior_is_a_release_within_the_budget(rounds: int) -> None:
    private = handle(epsilon=3.0)
    fit(VAE, private, prior="mixture", components=4, prior_rounds=rounds, steps=30, batch=100)
    assert len(private.ledger.mechanisms) == 1 + rounds + 1 + 1
    assert 2.9 < private.spent.epsilon <= 3.0


def test_without_noise_it_finds_the_modes() -> None:
    model = fit(VAE, handle(), prior="mixture", steps=200, batch=200)
    made = model.sample(4000, torch.Generator().manual_seed(0))
    real = private_latents()
    assert (made.mean(0) - real.mean(0)).norm() < 0.3
    side = (made[:, 0] > 0).float().mean()
    assert abs(float(side) - float((real[:, 0] > 0).float().mean())) < 0.05
    near_zero = (made[:, 0].abs() < 1).float().mean()
    assert near_zero < 0.05  # nothing between the two clusters


def test_lanes_together_equal_lanes_alone() -> None:
    settings = VAE.Params(hidden=(16,), steps=None, batch=100)
    epsilons = [2.0, 1.0]  # their automatic numbers of steps differ
    models = [VAE(settings, DIM) for _ in epsilons]
    privates = [handle(e, seed=i) for i, e in enumerate(epsilons)]
    VAE.fit_lanes(models, privates, public_latents(), [p.context for p in privates])
    for i, (epsilon, model) in enumerate(zip(epsilons, models, strict=True)):
        alone = VAE(settings, DIM)
        private = handle(epsilon, seed=i)
        alone.fit(private, public_latents(), private.context)
        torch.testing.assert_close(alone.flat, model.flat, rtol=1e-3, atol=1e-4)


def test_runs_hold_no_more_lanes_than_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    train = VAE.train

    def spied(run: Any, public: Any) -> None:
        sizes.append(len(run))
        train(run, public)

    monkeypatch.setattr(VAE, "train", spied)
    privates = [handle(2.0, seed=i) for i in range(3)]
    two = 2 * 8 * DIM * privates[0].size  # bytes of the records as two lanes see them
    monkeypatch.setitem(training_lane._TABLE_BYTES, "cpu", two)
    models = [VAE(VAE.Params(hidden=(4,), steps=2, batch=50), DIM) for _ in privates]
    VAE.fit_lanes(models, privates, public_latents(), [p.context for p in privates])
    assert sizes == [2, 1]


def test_engines_agree_without_noise() -> None:
    made = []
    for engine in ("lanes", "opacus"):
        plain = {"skip": 0.9, "latent": DIM, "output": "fixed", "modes": 0}
        model = fit(VAE, handle(seed=4), engine=engine, steps=25, batch=60, **plain)
        made.append(model.sample(50, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(made[0], made[1], rtol=1e-2, atol=1e-2)


def test_state_restores_the_samples() -> None:
    model = fit(VAE, handle(10.0), steps=5, batch=60)
    again = VAE(model.params, DIM)
    again.restore(model.state())
    draws: list[Tensor] = [m.sample(9, torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(draws[0], draws[1])


def test_the_papers_settings_are_expressible() -> None:
    settings = VAE.Params(
        prior="normal",
        skip=0,
        noise_scale=1.0,
        output="fixed",
        output_noise=False,
        modes=0,
        hidden=(64,),
        latent=32,
        activation="tanh",
        batch=64,
        steps=48_000,
        learning_rate=0.01,
        average=False,
        decay=False,
        weight_decay=1e-6,
    )
    model = VAE(settings, 100)
    shapes = [(100, 64), (64, 64), (32, 64), (64, 100)]
    assert model.net.layers == shapes
    size = sum((a + 1) * b for a, b in shapes)
    assert LaneBuffer.zeros(model.net.layers, 2).flat.shape == (2, size)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prior": "mixture", "pretrain_steps": 5},
        {"prior": "mixture", "modes": 3},
        {"prior": "gaussian", "components": 3},
        {"prior": "normal", "prior_rounds": 1},
    ],
)
def test_settings_that_would_do_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"needs? prior"):
        VAE.Params.model_validate(wrong)


def test_one_component_is_one_release() -> None:
    private = handle(epsilon=3.0)
    fit(VAE, private, prior="mixture", components=1, steps=5, batch=100)
    assert [m.name for m in private.ledger.mechanisms] == ["prior:moments", "dp-sgd"]
    share = VAE.Params().prior_share or 0.5
    expected = release_noise(handle(epsilon=3.0), share, 1)
    assert private.ledger.mechanisms[0].noise_multiplier == pytest.approx(expected)
