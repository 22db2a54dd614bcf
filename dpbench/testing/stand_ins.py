"""A public model and evaluators that need no training: what other kinds are checked with."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dpbench.api import (
    Capability,
    Context,
    Evaluator,
    LabelledImages,
    Params,
    PublicModel,
    state_sha256,
    to_float,
)
from dpbench.errors import DpbenchError

__all__ = [
    "PixelValues",
    "PrincipalComponents",
    "Templates",
    "pixel_values",
    "principal_components",
]


class ComponentsParams(Params):
    """``latent`` directions."""

    latent: int = 8


class PrincipalComponents(PublicModel):
    """Whitened principal components: latents of public images follow N(0, I), nearly.

    ``able`` is what an instance lets be used of it.
    """

    name = "principal-components"
    provides = frozenset({"encode", "decode", "prior"})
    Params = ComponentsParams

    def __init__(self, params: ComponentsParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        self.latent_dim = params.latent
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.able: frozenset[Capability] = self.provides
        self.centre = nn.Parameter(torch.zeros(pixels))
        self.axes = nn.Parameter(torch.zeros(params.latent, pixels))
        self.scale = nn.Parameter(torch.ones(params.latent))

    @torch.no_grad()
    def fit(self, images: Tensor, context: Context) -> None:
        x = to_float(images).flatten(1)
        self.centre.copy_(x.mean(0))
        _, spread, axes = torch.linalg.svd(x - self.centre, full_matrices=False)
        count = min(self.latent_dim, len(axes))  # images may be fewer than directions
        self.axes[:count] = axes[:count]
        self.scale[:count] = (spread[:count] / len(x) ** 0.5).clamp_min(1e-3)

    def encode(self, x: Tensor) -> Tensor:
        self._require("encode")
        return (x.flatten(1) - self.centre) @ self.axes.T / self.scale

    def decode(self, z: Tensor) -> Tensor:
        self._require("decode")
        return ((z * self.scale) @ self.axes + self.centre).clamp(0, 1).view(-1, *self.image_shape)

    def guess(self, x: Tensor) -> Tensor | None:
        return self.encode(x) if "encode" in self.able else None

    def _require(self, what: Capability) -> None:
        if what not in self.able:
            raise DpbenchError(f"the model was not asked to {what}: add it to `requires`")


Model = TypeVar("Model", bound=PrincipalComponents)


class PixelValues(PrincipalComponents):
    """Latents are pixels: as many axes as an image has, each one pixel's, unscaled."""

    name = "pixel-values"
    provides = frozenset({"encode", "decode", "pixels"})

    @torch.no_grad()
    def fit(self, images: Tensor, context: Context) -> None:
        """Learn nothing."""
        self.axes.copy_(torch.eye(self.latent_dim))


def principal_components(images: Tensor, latent: int) -> PrincipalComponents:
    """Fit one to ``images``, frozen as the harness hands models to extractors."""
    return _fitted(PrincipalComponents, images, latent)


def pixel_values(images: Tensor) -> PixelValues:
    """Make one for images of the size of ``images``, frozen likewise."""
    return _fitted(PixelValues, images, images[0].numel())


def _fitted(cls: type[Model], images: Tensor, latent: int) -> Model:
    shape = (images.shape[1], images.shape[2], images.shape[3])
    model = cls(ComponentsParams(latent=latent), shape)
    model.fit(images, Context(0))
    return model.eval().requires_grad_(False)


class Templates(Evaluator):
    """Small pictures as features, their likeness to each class's mean as logits."""

    name = "templates"
    batch_size = 64
    side = 4

    def fit(
        self,
        labelling: LabelledImages,
        test: LabelledImages,
        private_classes: tuple[int, ...],
        context: Context,
    ) -> None:
        small, kinds = self._small(labelling.images), labelling.labels.unique()
        self.restore({"means": torch.stack([small[labelling.labels == c].mean(0) for c in kinds])})

    def _small(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(to_float(images), self.side).flatten(1)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self._small(images)
        return features, -20 * torch.cdist(features, self.means)

    def describe(self) -> dict[str, Any]:
        return {"network": f"pictures of {self.side} x {self.side}"}

    def state(self) -> dict[str, Tensor]:
        return {"means": self.means}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.means, self.network = state["means"], nn.Identity()
        self.classes, self.feature_dim = self.means.shape
        self.weights_sha256 = state_sha256({"means": self.means})
