"""Correlated noise: GAN and VAE on the engine of :mod:`dpbench.privacy.correlated`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators import gan, vae
from dpbench.generators.training_lane import LaneGenerator, TrainingLane
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.correlated import CorrelatedLanes, with_bands
from dpbench.privacy.handle import PrivateLatents


class BandParams(Params):
    """``bands`` of the matrix that correlates noise; 1 is plain DP-SGD."""

    bands: int = Field(4, ge=1)


class _Banded(LaneGenerator):
    def make_lane(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[Any]:
        """Choose the noise of rounds, not of steps."""
        lane = super().make_lane(private, public, context)  # type: ignore[safe-super]
        if not lane.schedule.steps:  # a released start alone
            return lane
        return replace(lane, schedule=with_bands(lane.schedule, private, self.params.bands))


class BandedVAEParams(vae.VAEParams, BandParams):
    """Hyperparameters of the VAE, and of its noise."""

    engine: Literal["lanes"] = "lanes"


class BandedVAE(_Banded, vae.VAE):
    """The VAE under correlated noise."""

    name = "vae-banded"
    label = "VAE-banded"
    version = "0.1.0"
    Params = BandedVAEParams

    @classmethod
    def train(cls, lanes: list[TrainingLane[vae.VAE]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _VAETraining(lanes, public).run()


class _VAETraining(vae._Training):
    params: BandedVAEParams

    def _lanes(self) -> CorrelatedLanes:
        self.replay, self.numbers = Replay(), StepNumbers(self.device, captured=False)
        self.draws = [private.draws("dp-sgd") for private in self.privates]
        view = self._view if self.params.released else None
        bands = self.params.bands
        return CorrelatedLanes(
            self.weights, self.privates, self.schedules, bands, view=view, labelled=True
        )


class BandedGANParams(gan.GANParams, BandParams):
    """Hyperparameters of the GAN, and of its noise."""

    # Where the base would make Opacus's engine it asks the subclass for its own.
    engine: Literal["opacus"] = "opacus"


class BandedGAN(_Banded, gan.GAN):
    """The GAN whose critic learns under correlated noise."""

    name = "gan-banded"
    label = "GAN-banded"
    version = "0.1.0"
    Params = BandedGANParams

    @classmethod
    def train(cls, lanes: list[TrainingLane[gan.GAN]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _GANTraining(lanes, public).run()


class _GANTraining(gan._Training):
    params: BandedGANParams

    def _reference(self) -> CorrelatedLanes:  # type: ignore[override]
        bands = self.params.bands
        return CorrelatedLanes(self.judge, self.privates, self.schedules, bands, labelled=True)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench for each file that ``--plugin`` names."""
    register(BandedVAE)
    register(BandedGAN)
