"""What a public model promises: images from latents, and to be what it says it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from dpbench.api import Context, PublicModel, to_float
from dpbench.errors import DpbenchError
from dpbench.store import Artifact, Store
from dpbench.testing.checks import Figures, NotRun, checking, refusable, require
from dpbench.testing.images import bars
from dpbench.testing.subject import Subject
from dpbench.testing.tensors import ROUNDING, first_difference, require_latents, same

__all__ = ["PublicModelSubject"]

SHAPE = (1, 16, 16)
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 30, 30), (3, 17, 23))


class PublicModelSubject(Subject):
    """A public model, and fits of it to 48 small images."""

    base = PublicModel
    most_steps = 3

    def __init__(self, cls: type[PublicModel], given: dict[str, object]) -> None:
        super().__init__(cls, given)
        self.images = bars(48, 41, shape=SHAPE).images

    def fit(self, images: Tensor, context: Context | None = None) -> PublicModel:
        """Fit to ``images`` and return a fresh model with the fitted state, frozen, on the CPU."""
        shape = tuple(images.shape[1:])
        fitted: PublicModel = self.cls(self.params, shape)
        fitted.fit(images, context or Context(11))
        state = {name: tensor.detach().cpu() for name, tensor in fitted.state_dict().items()}
        model: PublicModel = self.cls(self.params, shape)
        model.load_state_dict(state)
        return model.eval().requires_grad_(False)

    @property
    def usual(self) -> PublicModel:
        """The fit that several checks look at."""
        return self.remember("usual", lambda: self.fit(self.images))

    def work(self, context: Context) -> dict[str, Tensor]:
        model = self.fit(self.images, context)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return {**state, "decoded": model.decode(latents(model, 5)).detach()}

    def lent(self) -> dict[str, Tensor]:
        return {"images": self.images}


def latents(model: PublicModel, count: int) -> Tensor:
    """Draw latents from N(0, I)."""
    return torch.randn(count, model.latent_dim, generator=torch.Generator().manual_seed(7))


def _require_images(found: Tensor, count: int, shape: tuple[int, ...], what: str) -> None:
    wanted = (count, *shape)
    require(tuple(found.shape) == wanted, f"{what} has shape {tuple(found.shape)}, not {wanted}")
    require(found.dtype == torch.float32, f"{what} is {found.dtype}, not torch.float32")
    require(bool(torch.isfinite(found).all()), f"{what} holds NaN or infinity")
    low, high = float(found.min()), float(found.max())
    require(low >= 0 and high <= 1, f"{what} spans {low:.3g} to {high:.3g}, not [0, 1]")


@checking("public")
def decodes_to_images(subject: PublicModelSubject) -> None:
    """``decode`` maps latents ``[B, d]``, far-out ones too, to float32 images in [0, 1]."""
    model = subject.usual
    for count, scale in ((1, 1.0), (5, 1.0), (5, 30.0)):
        decoded = model.decode(scale * latents(model, count))
        _require_images(decoded, count, SHAPE, f"decode of {count} latents")


@checking("public")
def images_of_any_shape(subject: PublicModelSubject) -> Figures:
    """It fits grey and colour images, of odd sizes too, or refuses kindly."""
    fitted = [shape for shape in SHAPES if _fits(subject, bars(12, 42, shape=shape).images)]
    if not fitted:
        raise NotRun("it refuses all shapes but 16 x 16")
    return {"shapes fitted": float(len(fitted)), "shapes tried": float(len(SHAPES))}


def _fits(subject: PublicModelSubject, images: Tensor) -> bool:
    try:
        with refusable():
            model = subject.fit(images)
    except NotRun:
        return False
    _require_images(model.decode(latents(model, 2)), 2, tuple(images.shape[1:]), "a decoded image")
    return True


@checking("public")
def few_or_equal_images(subject: PublicModelSubject) -> Figures:
    """It fits three images, one, and images that are all alike, or refuses kindly."""
    some = subject.images
    sets = [some[:3].clone(), some[:1].clone(), torch.full_like(some[:20], 128)]
    fitted = sum(_fits(subject, images) for images in sets)
    if not fitted:
        raise NotRun("it refuses them all")
    return {"sets fitted": float(fitted)}


@checking("public")
def provides_what_it_says(subject: PublicModelSubject) -> None:
    """``encode`` works if it is provided and refuses kindly if it is not."""
    model, x = subject.usual, to_float(subject.images[:5])
    if "encode" in model.provides:
        found = model.encode(x).detach()
        require_latents(found, 5, model.latent_dim, "encode(x)")
        return
    try:
        model.encode(x)
    except DpbenchError:
        return
    require(False, "encode works, but is not in `provides`")


@checking("public")
def each_latent_and_image_by_itself(subject: PublicModelSubject) -> None:
    """Decoding and encoding one gives what they give beside others."""
    model, x = subject.usual, to_float(subject.images[:6])
    z = latents(model, 6)
    _require_rows("decode", model.decode(z), torch.cat([model.decode(row[None]) for row in z]))
    if "encode" in model.provides:
        _require_rows("encode", model.encode(x), torch.cat([model.encode(row[None]) for row in x]))


def _require_rows(what: str, together: Tensor, alone: Tensor) -> None:
    kept = same(together.detach(), alone.detach(), ROUNDING)
    require(kept, f"{what} depends on the rest of the batch: use no batch statistics")


@checking("public")
def decoding_has_a_gradient(subject: PublicModelSubject) -> None:
    """Extractors can descend: the frozen decoder gives latents a finite gradient."""
    model = subject.usual
    z = latents(model, 3).requires_grad_()
    decoded = model.decode(z)
    require(decoded.requires_grad, "decode has no gradient: do not detach, use no torch.no_grad()")
    (gradient,) = torch.autograd.grad(decoded.square().sum(), z)
    require(bool(torch.isfinite(gradient).all()), "the gradient of decode is not finite")
    require(bool(gradient.abs().sum(1).gt(0).all()), "the gradient of decode is zero")


@checking("public")
def different_latents_are_different_images(subject: PublicModelSubject) -> None:
    """The decoder has not become one image."""
    decoded = subject.usual.decode(latents(subject.usual, 8)).detach().flatten(1)
    require(bool(decoded.std(0).max() > 0), "all latents decode to the same image")


@checking("public")
def state_survives_the_store(subject: PublicModelSubject) -> None:
    """All that ``fit`` learns is in ``state_dict``: a stored model decodes the same."""
    fitted = subject.cls(subject.params, SHAPE)
    fitted.fit(subject.images, Context(11))
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        store.save("public", "key", Artifact({}, dict(fitted.eval().state_dict())))
        model = subject.cls(subject.params, SHAPE)
        model.load_state_dict(store.load("public", "key").tensors)
        model.eval().requires_grad_(False)
        before, after = (_learned(m, subject.images) for m in (fitted, model))
    difference = first_difference(before, after, 1e-6)
    require(difference is None, f"{difference} of a stored model differs: register buffers")


def _learned(model: PublicModel, images: Tensor) -> dict[str, Tensor]:
    found = {"decode": model.decode(latents(model, 5))}
    if not _without_parameters(model):
        found["mean"], found["precision"] = model.latent_statistics()
    if "encode" in model.provides:
        found["encode"] = model.encode(to_float(images[:5]))
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def _without_parameters(model: PublicModel) -> bool:
    """Whether the default statistics, which take their device from parameters, cannot be had."""
    default = type(model).latent_statistics is PublicModel.latent_statistics
    return default and next(model.parameters(), None) is None


@checking("public")
def latent_statistics_are_those_of_a_gaussian(subject: PublicModelSubject) -> None:
    """``latent_statistics`` gives a mean ``[d]`` and a positive definite precision ``[d, d]``."""
    if _without_parameters(subject.usual):
        lacks = "it has no parameters: let it override latent_statistics"
        require("prior" not in subject.cls.provides, lacks)
        raise NotRun(f"{lacks}, if extractors are to descend")
    mean, precision = (part.detach().cpu().double() for part in subject.usual.latent_statistics())
    dim = subject.usual.latent_dim
    require(mean.shape == (dim,), f"the mean has shape {tuple(mean.shape)}, not {(dim,)}")
    require(precision.shape == (dim, dim), f"the precision has shape {tuple(precision.shape)}")
    finite = bool(torch.isfinite(mean).all() and torch.isfinite(precision).all())
    require(finite, "mean or precision is not finite")
    require(same(precision, precision.T, ROUNDING), "the precision is not symmetric")
    require(bool((torch.linalg.eigvalsh(precision) > 0).all()), "the precision is not positive")


@checking("public")
def guesses_are_latents(subject: PublicModelSubject) -> None:
    """``guess`` gives a start ``[B, d]`` for an inversion, or ``None``."""
    found = subject.usual.guess(to_float(subject.images[:5]))
    if found is not None:
        require_latents(found.detach(), 5, subject.usual.latent_dim, "guess(x)")
