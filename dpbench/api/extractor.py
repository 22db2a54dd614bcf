"""Ways from images to latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor

from dpbench.api.context import Context
from dpbench.api.plugin import Plugin
from dpbench.api.public_model import Capability, PublicModel

__all__ = ["Extractor"]


class Extractor(Plugin, ABC):
    """Turns images into latents through a fitted public model.

    Each latent must depend on its own image alone (no batch statistics, no
    stopping rule over the batch): otherwise one record would move the latents
    of others and the sensitivity the accountant assumes would be wrong.

    Attributes:
        requires: capabilities the public model must provide.
        label: the extractor's part of a method's name (``ae-enc-GAN``); an
            empty label is left out (``wgan-GAN``).
        standardise: how its latents are standardised (``"whiten"``, ``"scale"`` or
            ``"none"``), where the configuration's way does not suit them.
    """

    kind = "extractor"
    requires: ClassVar[frozenset[Capability]]
    label: ClassVar[str]
    standardise: ClassVar[Literal["whiten", "scale", "none"] | None] = None

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        """Map ``images`` (uint8 ``[N, C, H, W]``) to latents ``[N, d]`` on the CPU."""
