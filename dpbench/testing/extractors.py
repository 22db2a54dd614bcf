"""What an extractor promises: one latent per image, from that image alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, Extractor, PublicModel
from dpbench.testing.checks import NotRun, checking, require
from dpbench.testing.images import bars
from dpbench.testing.stand_ins import PrincipalComponents, pixel_values, principal_components
from dpbench.testing.subject import Subject
from dpbench.testing.tensors import first_difference, require_latents, same

__all__ = ["ExtractorSubject"]

DIM = 8
COMPANY = 5e-3
"""Relative L2 distance: descents of other batch sizes round otherwise, step after step."""


class ExtractorSubject(Subject):
    """An extractor, a linear public model that provides what it requires, and 40 images."""

    base = Extractor

    def __init__(self, cls: type[Extractor], given: dict[str, object]) -> None:
        super().__init__(cls, given)
        self.images = bars(40, 51).images

    @property
    def of_pixels(self) -> bool:
        """Whether its latents are an image's pixels: then images decide their size."""
        return "pixels" in self.cls.requires

    @property
    def dim(self) -> int:
        """The size of the usual model's latents."""
        return self.images[0].numel() if self.of_pixels else DIM

    def sized(self, dim: int) -> tuple[PrincipalComponents, Tensor]:
        """Return a frozen public model with ``dim`` latents, and nine images for it."""
        if self.of_pixels:
            side = math.isqrt(dim)
            images = bars(9, 51, shape=(1, side, dim // side)).images
            model: PrincipalComponents = pixel_values(images)
        else:
            images = self.images[:9]
            model = principal_components(bars(200, 52).images, dim)
        if lacking := ", ".join(sorted(self.cls.requires - model.provides)):
            raise NotRun(f"the kit's model {model.name} does not provide {lacking}")
        return model, images

    def new_model(self) -> PrincipalComponents:
        """Make a public model of the usual size."""
        return self.sized(self.dim)[0]

    def model(self) -> PrincipalComponents:
        """Return the one that most checks share."""
        return self.remember("model", self.new_model)

    def extract(
        self, images: Tensor, model: PublicModel | None = None, context: Context | None = None
    ) -> Tensor:
        """Return the latents of ``images``."""
        extractor = self.cls(self.params)
        found: Tensor = extractor.extract(model or self.model(), images, context or Context(11))
        return found

    @property
    def usual(self) -> Tensor:
        """Latents of all images."""
        return self.remember("usual", lambda: self.extract(self.images))

    def work(self, context: Context) -> dict[str, Tensor]:
        model = self.model().to(context.device)
        try:
            return {"latents": self.extract(self.images, model, context)}
        finally:
            model.to("cpu")

    def lent(self) -> dict[str, Tensor]:
        return {"images": self.images, **self.model().state_dict()}


@checking("extractor")
def one_latent_per_image(subject: ExtractorSubject) -> None:
    """``extract`` gives finite float32 ``[N, d]`` on the CPU, for one image and odd numbers."""
    for count in (1, 7, 40):
        found = subject.extract(subject.images[:count])
        require_latents(found, count, subject.dim, f"latents of {count} images")


@checking("extractor")
def latents_of_any_size(subject: ExtractorSubject) -> None:
    """It works through models of few and of many latents."""
    for dim in (1, 64):
        model, images = subject.sized(dim)
        found = subject.extract(images, model)
        require_latents(found, 9, dim, f"latents of size {dim}")


@checking("extractor")
def each_image_by_itself(subject: ExtractorSubject) -> None:
    """A latent depends on its own image alone: not on its company, nor on its place."""
    images, together = subject.images, subject.usual
    beside = torch.cat([images[:9], torch.full_like(images[9:], 255)])
    for what, some in (("fewer", images[:9]), ("other", beside)):
        kept = same(together[:9], subject.extract(some)[:9], COMPANY)
        require(kept, f"latents differ beside {what} images: one record would move others")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
    kept = same(together[order], subject.extract(images[order]), COMPANY)
    require(kept, "latents differ when the images change places")


@checking("extractor")
def images_without_contrast(subject: ExtractorSubject) -> None:
    """Black, white and grey images have finite latents."""
    plain = [torch.full_like(subject.images[:3], value) for value in (0, 128, 255)]
    require_latents(subject.extract(torch.cat(plain)), 9, subject.dim, "latents of plain images")


@checking("extractor")
def different_images_have_different_latents(subject: ExtractorSubject) -> None:
    """Latents follow the images."""
    require(bool(subject.usual.std(0).max() > 0), "all images have the same latent")


@checking("extractor")
def leaves_the_model_as_it_was(subject: ExtractorSubject) -> None:
    """The public model keeps weights, mode and flags: nothing private may enter it."""
    subject = subject.anew()
    model = subject.model()
    before, flags = {k: v.clone() for k, v in model.state_dict().items()}, _flags(model)
    subject.extract(subject.images)
    difference = first_difference(before, dict(model.state_dict()))
    require(difference is None, f"it changes the model's {difference}")
    require(flags == _flags(model), "it changes the model's mode, or what requires gradients")


def _flags(model: PublicModel) -> list[Any]:
    gradients = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return [model.training, *gradients]


@checking("extractor")
def requires_what_it_uses(subject: ExtractorSubject) -> None:
    """It asks of the model no more than it declares in ``requires``."""
    model = subject.new_model()
    model.able = subject.cls.requires
    require_latents(subject.extract(subject.images[:5], model), 5, subject.dim, "latents")
