"""The activation function as a hyperparameter, and so as an axis of a grid."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.lane_nets import Activation

__all__ = ["ActivationParams"]


class ActivationParams(Params):
    """``activation`` and its parameters; see :class:`Activation`.

    Attributes:
        activation: of hidden layers; ``tempered_sigmoid`` is
            ``scale * sigmoid(temperature * x) - offset`` (Papernot et al. 2021), by default tanh.
        slope: of ``leaky_relu`` below 0.
        scale: height of ``tempered_sigmoid``.
        temperature: steepness of ``tempered_sigmoid``.
        offset: what ``tempered_sigmoid`` subtracts.
    """

    activation: Literal["leaky_relu", "tanh", "tempered_sigmoid"] = "leaky_relu"
    slope: float = Field(0.2, ge=0, le=1)
    scale: float = Field(2.0, gt=0)
    temperature: float = Field(2.0, gt=0)
    offset: float = 1.0

    @property
    def activation_function(self) -> Activation:
        return Activation(self.activation, self.slope, self.scale, self.temperature, self.offset)
