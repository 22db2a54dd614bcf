"""Affine maps of latents, from public statistics alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpbench.stages.standardise import Standardiser

HOW = ["whiten", "scale", "none"]


def latents(count: int = 500, dim: int = 4, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=rng)
    return torch.randn(count, dim, generator=rng) @ mix + 5 * torch.randn(dim, generator=rng)


def test_whitened_public_latents_have_unit_covariance() -> None:
    public = latents()
    white = Standardiser.from_public(public, "whiten").apply(public)
    torch.testing.assert_close(white.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4), atol=1e-3, rtol=0)


def test_scaled_public_latents_keep_their_shape() -> None:
    public = latents()
    scaled = Standardiser.from_public(public, "scale").apply(public)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    assert scaled.square().mean().item() == pytest.approx(1, abs=1e-3)
    ratio = torch.cov(scaled.T) / torch.cov(public.T)
    torch.testing.assert_close(ratio, ratio[0, 0].expand(4, 4), rtol=1e-3, atol=0)


def test_none_leaves_latents_as_they_are() -> None:
    public = latents()
    assert torch.equal(Standardiser.from_public(public, "none").apply(public), public)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 8), how=st.sampled_from(HOW))
def test_it_can_be_undone(seed: int, dim: int, how: str) -> None:
    public, private = latents(200, dim, seed), latents(50, dim, seed + 1)
    map_ = Standardiser.from_public(public, how)
    spread = float(private.abs().max())
    torch.testing.assert_close(
        map_.invert(map_.apply(private)), private, atol=1e-2 * spread, rtol=0
    )


@pytest.mark.parametrize("how", HOW)
def test_dead_directions_stay_finite(how: str) -> None:
    public = latents()
    public[:, 1] = 3.0  # a latent that the public model never uses
    private = latents(seed=1)
    for rows in (public, torch.ones(10, 4)):
        map_ = Standardiser.from_public(rows, how)
        assert torch.isfinite(map_.apply(private)).all()
        assert torch.isfinite(map_.invert(map_.apply(private))).all()


@pytest.mark.parametrize("how", HOW)
def test_it_comes_back_from_its_state(how: str) -> None:
    public = latents()
    map_ = Standardiser.from_public(public, how)
    assert torch.equal(Standardiser.from_state(map_.state()).apply(public), map_.apply(public))
