"""DP-SGD of one module: how much of the budget it takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dpbench.api import Context
from dpbench.api.privacy import Budget, PrivateGradient
from dpbench.privacy.session import PrivateSession


def loss(module: nn.Module, batch: Tensor) -> Tensor:
    return (module(batch) - batch).square().sum(1)


def test_steps_take_their_share_of_what_is_left_and_a_release_the_rest() -> None:
    latents = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    own = PrivateSession(latents, Budget(2.0, 1e-6), 1.0, Context(0), noise_seed=1)
    private = own.handle
    PrivateGradient(private, nn.Linear(3, 3), loss, sampling_rate=0.1, steps=20, share=0.75)
    assert private.spent.epsilon == pytest.approx(1.5, rel=0.02)
    noise = private.noise_multiplier()
    private.release_sum(lambda z: z, clip=1.0, noise_multiplier=noise, name="rest")
    assert 1.96 < private.spent.epsilon <= 2
