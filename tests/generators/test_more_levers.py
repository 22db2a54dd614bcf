"""The levers that need code of their own: what each promises, and what it adds to the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.generators.vae import VAE, VAEParams
from dpbench.generators.vae_lanes import VAENet
from dpbench.plugin_files import load_file
from dpbench.privacy.accounting import compose
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import Activation, LaneBuffer
from dpbench.privacy.lanes import clipped_sum
from dpbench.privacy.ledger import check_inclusions
from dpbench.privacy.session import PrivateSession

FOLDER = Path(__file__).parents[2] / "benchmarks" / "more_levers"
ROWS, CLIP, NOISE, DEPTH = (
    load_file(FOLDER / f"{name}.py") for name in ("rows", "clip", "noise", "depth")
)
SMALL: dict[str, Any] = {"hidden": (8,), "batch": 60, "steps": 8}
SMALL_GAN: dict[str, Any] = {**SMALL, "critic_hidden": (8,), "fakes": 16}
EVERY = [
    (ROWS, "RowVAE", {**SMALL, "draws": 3, "jitter": 0.1}),
    (ROWS, "RowGAN", {**SMALL_GAN, "draws": 3, "jitter": 0.1}),
    (CLIP, "AdaptiveVAE", {**SMALL, "checks": 2}),
    (CLIP, "AdaptiveGAN", {**SMALL_GAN, "checks": 2}),
    (CLIP, "AdaptiveVAE", {**SMALL, "checks": 2, "source": "public"}),
    (CLIP, "AdaptiveGAN", {**SMALL_GAN, "checks": 2, "source": "public", "factor": 0.1}),
    (NOISE, "BandedVAE", {**SMALL, "bands": 3}),
    (NOISE, "BandedGAN", {**SMALL_GAN, "bands": 3}),
    (DEPTH, "TwoLayerVAE", {**SMALL, "hidden": 8}),
]


def _latents(size: int = 300) -> Tensor:
    return 0.5 + torch.randn(size, 6, generator=torch.Generator().manual_seed(7))


def _session(epsilon: float, latents: Tensor | None = None) -> PrivateSession:
    latents = _latents() if latents is None else latents
    return PrivateSession(latents, Budget(epsilon, 1e-6), 1.0, Context(0), noise_seed=0)


def _fit(
    module: ModuleType, name: str, params: Mapping[str, Any], session: PrivateSession
) -> PrivateGenerator:
    cls: type[PrivateGenerator] = getattr(module, name)
    generator = cls(cls.Params(**params), 6)
    generator.fit(session.handle, torch.randn(50, 6), session.context)
    return generator


@pytest.mark.parametrize(("module", "name", "params"), EVERY, ids=lambda part: str(part)[:12])
@pytest.mark.parametrize("epsilon", [3.0, math.inf])
def test_each_spends_its_budget_and_no_more(
    module: ModuleType, name: str, params: dict[str, Any], epsilon: float
) -> None:
    session = _session(epsilon)
    generator = _fit(module, name, params, session)
    assert check_inclusions(session.ledger) == []
    assert session.ledger.trust == "ledger"
    spent = compose(session.ledger.mechanisms, 1e-6).epsilon
    assert spent == epsilon or 0.99 * epsilon <= spent <= epsilon
    drawn = generator.sample(20, torch.Generator().manual_seed(0))
    assert drawn.shape == (20, 6)
    assert torch.isfinite(drawn).all()
    copy = type(generator)(generator.params, 6)
    copy.restore(generator.state())
    assert torch.equal(copy.sample(20, torch.Generator().manual_seed(0)), drawn)


@pytest.mark.parametrize(
    ("module", "name", "params"), [*EVERY[:2], *EVERY[6:8]], ids=["rows"] * 2 + ["bands"] * 2
)
def test_those_that_learn_labels_make_what_is_asked_for(
    module: ModuleType, name: str, params: dict[str, Any]
) -> None:
    labels = torch.arange(300) % 2
    session = PrivateSession(
        _latents(), Budget(math.inf, 1e-6), 1.0, Context(0), noise_seed=0, labels=labels, classes=2
    )
    cls = getattr(module, name)
    generator = cls(cls.Params(**params), 6, 2)
    generator.fit(session.handle, torch.randn(50, 6), session.context)
    drawn = generator.sample(4, torch.Generator().manual_seed(0), torch.tensor([0, 1, 1, 0]))
    assert drawn.shape == (4, 6)


@pytest.mark.parametrize(
    ("module", "name", "own"),
    [(ROWS, "RowVAE", {"draws": 1}), (NOISE, "BandedVAE", {"bands": 1})],
    ids=["one draw", "one band"],
)
def test_switched_off_a_lever_changes_nothing(
    module: ModuleType, name: str, own: dict[str, Any]
) -> None:
    found = _fit(module, name, {**SMALL, **own}, _session(3.0)).state()
    default = VAE(VAEParams(**SMALL), 6)
    session = _session(3.0)
    default.fit(session.handle, torch.randn(50, 6), session.context)
    assert torch.equal(found["parameters"], default.state()["parameters"])


def test_a_records_gradient_is_the_mean_over_its_draws() -> None:
    plain = VAENet(6, 2, (8,), Activation(), learned=True, modes=3)
    several = ROWS.RowNet(**vars(plain), draws=4)
    params = plain.initial([torch.Generator().manual_seed(0)], torch.device("cpu"))
    noise = torch.randn(1, 20, 2, generator=torch.Generator().manual_seed(1))
    x = _latents(5)[None]
    found, expected = params.like(), params.like()
    wide = torch.full((1, 1), 1e9)

    def draw(out: Tensor) -> Tensor:
        return out.copy_(noise)

    clipped_sum(several.traces(params, x, 0.3, draw), wide, torch.ones(1, 5), found)
    rows = x.repeat_interleave(4, 1)
    clipped_sum(plain.traces(params, rows, 0.3, draw), wide, torch.ones(1, 20), expected)
    torch.testing.assert_close(found.flat, expected.flat / 4, rtol=1e-4, atol=1e-5)


def test_counts_take_their_share_and_the_steps_what_is_left() -> None:
    session = _session(3.0)
    _fit(CLIP, "AdaptiveVAE", {**SMALL, "checks": 4, "count_share": 0.1}, session)
    counts = [m for m in session.ledger.mechanisms if m.sampling_rate == 1]
    assert [(m.count, m.sensitivity) for m in counts] == [(4, 1.0)]
    assert 0.29 <= compose(counts, 1e-6).epsilon <= 0.3


def test_the_clip_finds_the_quantile_without_moving_the_sensitivity() -> None:
    """Without noise, and gradients the same in every step: a rate of 0 moves nothing."""
    session = _session(math.inf)
    cls, params = CLIP.AdaptiveVAE, {**SMALL, "steps": 40, "checks": 40, "learning_rate": 1e-9}
    generator = cls(cls.Params(**params, clip_rate=1.0), 6)
    lane = generator.make_lane(session.handle, torch.zeros(1, 6), session.context)
    training = CLIP._VAETraining([lane], torch.zeros(1, 6))
    training.run()
    below = 1 - float(training._above(0, _latents()).float().mean())
    assert below == pytest.approx(0.5, abs=0.1)
    (steps,) = (m for m in session.ledger.mechanisms if m.name == "dp-sgd")
    assert steps.sensitivity == 1.0
    assert float(training.clip[0]) != 1.0


def test_a_public_clip_is_a_quantile_of_public_gradients_and_counts_nothing() -> None:
    session, public = _session(3.0), _latents(40)
    cls = CLIP.AdaptiveVAE
    params = cls.Params(**SMALL, checks=8, source="public", quantile=0.25, factor=0.5)
    lane = cls(params, 6).make_lane(session.handle, public, session.context)
    training = CLIP._VAETraining([lane], public)
    training.adapt(1, 0)  # a check before the first step, under the nets as they start
    assert float(training.clip[0]) == pytest.approx(
        0.5 * float(training._norms(0, public).quantile(0.25)), rel=1e-6
    )
    training.run()
    (steps,) = session.ledger.mechanisms
    assert (steps.name, steps.sensitivity) == ("dp-sgd", 1.0)


def test_scaled_gradients_are_those_clipped_at_the_current_clip() -> None:
    params = LaneBuffer.zeros([(6, 3)], 1)
    session = _session(math.inf)
    schedule = CLIP.LaneSchedule(1.0, 2, 1.0, 0.0)
    engine = CLIP.ScaledLanes(params, [session.handle], [schedule])
    engine.current.fill_(2.5)

    def traces(x: Tensor) -> list[Any]:
        return [CLIP.LinearTrace(0, x, x[..., :3])]

    found = engine.gradient(traces).flat.clone()
    expected = params.like()
    x = _latents()[None]
    clipped_sum(traces(x), torch.tensor([[2.5]]), torch.ones(1, 300), expected)
    torch.testing.assert_close(found, expected.flat / 300, rtol=1e-4, atol=1e-5)


def test_two_layers_of_codes_learn_where_the_records_are() -> None:
    params = {**SMALL, "hidden": 16, "steps": 150, "batch": 300}
    latents = 0.3 * _latents() + 2
    generator = _fit(DEPTH, "TwoLayerVAE", params, _session(math.inf, latents))
    drawn = generator.sample(500, torch.Generator().manual_seed(0))
    assert float((drawn.mean(0) - latents.mean(0)).norm()) < 0.6
