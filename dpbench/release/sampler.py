"""The part of a release that draws new images: weights without the private data."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dpbench import __version__, plugins
from dpbench.api import PublicModel
from dpbench.component import Component
from dpbench.errors import DpbenchError, UnknownName, printable
from dpbench.privacy.by_class import draw
from dpbench.stages.detail import COMPARED, found_gains, render
from dpbench.stages.public import public_model_of, require_finite
from dpbench.stages.standardise import Standardiser
from dpbench.stages.trained import generator_of

__all__ = ["DESCRIPTION", "WEIGHTS", "BadRelease", "Sampler", "load_release"]

DESCRIPTION, WEIGHTS = "sampler.json", "sampler.safetensors"
#: Of what :meth:`Sampler.save` writes.
FORMAT = 3
_GAINS = "detail.gains"


class BadRelease(DpbenchError):
    """A directory that is no release, or one that this version cannot read."""


@dataclass(frozen=True)
class Sampler:
    """A trained private generator with the public model that makes images of its latents.

    Attributes:
        image_shape: ``(C, H, W)``.
        latent_dim: of the public model.
        public: the public model as it was configured.
        generator: the private generator as it was configured.
        classes: the private classes of which it samples; none where it knows no labels.
        tensors: states of both and of the standardiser, prefixed ``public.``,
            ``generator.`` and ``standardiser.``; what sharpens, if any does, is ``detail.gains``.
    """

    image_shape: tuple[int, ...]
    latent_dim: int
    public: Component
    generator: Component
    tensors: dict[str, Tensor]
    classes: tuple[int, ...] = ()

    @property
    def packages(self) -> dict[str, str]:
        """Versions of the packages that it needs, by name: dpbench, and those of its plugins.

        Raises:
            UnknownName: one of its plugins is not installed.
        """
        registry = plugins.registry()
        parts = [registry.get(part.kind, part.plugin) for part in (self.public, self.generator)]
        return {"dpbench": __version__, **{p.distribution: p.distribution_version for p in parts}}

    def sample(self, count: int, seed: int | None = None, device: str = "cpu") -> Tensor:
        """Draw ``uint8`` images ``[count, C, H, W]``, at no cost of privacy.

        The same ``seed`` gives the same images; without one they differ each time.
        """
        return self.labelled(count, seed, device)[0]

    def labelled(
        self, count: int, seed: int | None = None, device: str = "cpu"
    ) -> tuple[Tensor, Tensor | None]:
        """Draw images like :meth:`sample`, with their labels ``[count]`` where it knows any.

        There are as many of each class: how many there were of the private is not known.
        """
        rng = torch.Generator().manual_seed(secrets.randbits(63) if seed is None else seed)
        latents, places = self._latents(count, rng)
        target = torch.device(device)
        images = render(self._model().to(target), latents, target, self.tensors.get(_GAINS))
        return images, None if places is None else torch.tensor(self.classes)[places]

    def sharpened_like(self, images: Tensor) -> Sampler:
        """Return one whose images have the detail of the public ``images``, ``uint8``."""
        rng = torch.Generator().manual_seed(0)
        latents, _ = self._latents(COMPARED, rng)
        gains, _ = found_gains(self._model(), latents, images, rng, torch.device("cpu"))
        return replace(self, tensors={**self.tensors, _GAINS: gains})

    def save(self, folder: Path) -> None:
        """Write :data:`DESCRIPTION` and :data:`WEIGHTS` to ``folder``."""
        described = {
            "format": FORMAT,
            "packages": self.packages,
            "image_shape": list(self.image_shape),
            "latent_dim": self.latent_dim,
            "public": asdict(self.public),
            "generator": asdict(self.generator),
            "classes": list(self.classes),
        }
        (folder / DESCRIPTION).write_text(json.dumps(described, indent=2) + "\n")
        # safetensors' own file would be readable by its owner alone
        (folder / WEIGHTS).write_bytes(save({k: v.contiguous() for k, v in self.tensors.items()}))

    def _latents(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Draw what the public model decodes, and the places of its classes if it knows any."""
        classes = max(1, len(self.classes))
        generator = generator_of(self._state("generator"), self.generator, self.latent_dim, classes)
        latents, places = draw(generator, count, rng, classes)
        require_finite([latents], f"samples of generator {self.generator.name!r}")
        return Standardiser.from_state(self._state("standardiser")).invert(latents), places

    def _model(self) -> PublicModel:
        return public_model_of(self._state("public"), self.public, self.image_shape)

    def _state(self, part: str) -> dict[str, Tensor]:
        prefix = f"{part}."
        named = self.tensors.items()
        return {k.removeprefix(prefix): v for k, v in named if k.startswith(prefix)}


def load_release(folder: str | Path) -> Sampler:
    """Open what ``dpbench release`` wrote; the original data is not needed.

    Raises:
        BadRelease: ``folder`` holds no release, or one that is damaged, newer, or of a plugin
            that is not installed.
    """
    folder = Path(folder)
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        return _sampler(described, tensors)
    except OSError as error:
        raise BadRelease(
            f"{folder} holds no release ({error.strerror or error}): name a directory that "
            "`dpbench release` wrote"
        ) from None
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadRelease(
            f"the sampler in {folder} cannot be read ({error}): copy the release again"
        ) from None


def _sampler(described: dict[str, Any], tensors: dict[str, Tensor]) -> Sampler:
    if described["format"] > FORMAT:
        raise BadRelease("this release was written by a newer dpbench: install that version")
    if described.get("sharpness"):
        raise BadRelease(
            "this release was written by an older dpbench, which sharpened in another way: "
            "release the trial again"
        )
    sampler = Sampler(
        tuple(described["image_shape"]),
        described["latent_dim"],
        Component(**described["public"]),
        Component(**described["generator"]),
        tensors,
        tuple(described.get("classes", ())),
    )
    try:
        _ = sampler.packages
    except UnknownName as error:
        packages = [" ".join(item) for item in described.get("packages", {}).items()]
        needed = printable(", ".join(packages)) or "the package that brings it"
        raise BadRelease(f"{error}; to draw from this release install {needed}") from None
    return sampler
