"""What the replay check says of honest generators, and how."""

from __future__ import annotations

import pytest
import torch

from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule

from .honest import HONEST, SelfDeclared
from .small import Animal, replayed


@pytest.mark.parametrize("generator", HONEST, ids=lambda c: c.__name__)
def test_an_honest_generator_passes(generator) -> None:
    verdict = replayed(generator)
    assert verdict.verdict == "passed", verdict.reason
    assert verdict.releases > 0
    assert verdict.lanes == 2


def test_a_generator_with_noise_of_its_own_is_not_replayed() -> None:
    verdict = replayed(SelfDeclared)
    assert verdict.verdict == "not-replayed"
    assert "itself" in verdict.reason or "own noise" in verdict.reason


class MixesInTheView(Animal):
    """Descends on latents less their mean, which each of them moves."""

    def view(self, z):
        return z - z.mean(0)

    def traces(self, batch):
        return [LinearTrace(0, batch, torch.ones(*batch.shape[:2], 1))]

    def fit(self, private, public, context) -> None:
        rate, steps = 0.3, 10
        schedule = LaneSchedule(rate, steps, private.clip, private.noise_multiplier(rate, steps))
        params = LaneBuffer.zeros([(private.dim, 1)], 1)
        view = lambda _lane, z: self.view(z)  # noqa: E731
        engine = DPSGDLanes(params, [private], [schedule], view=view)
        while engine.active:
            params.flat -= engine.gradient(self.traces).flat
        self.mean = params.flat[0, : private.dim].clone()


class MixesInTheBackwardPass(MixesInTheView):
    """Normalises by statistics of the batch, as batch normalisation does."""

    def view(self, z):
        return z

    def traces(self, batch):
        centred = (batch - batch.mean(1, keepdim=True)) / (batch.std(1, keepdim=True) + 1e-3)
        return super().traces(centred)


class MixesNothing(MixesInTheView):
    """The honest one of the three."""

    def view(self, z):
        return z


def test_lanes_that_mix_records_are_found_by_replay_alone() -> None:
    assert replayed(MixesNothing).verdict == "passed"
    for cheat in (MixesInTheView, MixesInTheBackwardPass):
        verdict = replayed(cheat)
        assert verdict.verdict == "failed"
        assert "moves a sum" in verdict.reason
