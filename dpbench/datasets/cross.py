"""One data set's images as the public part of another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dpbench.api import Dataset, LabelledImages, Partition
from dpbench.errors import DpbenchError

__all__ = ["CrossData", "UnlikeImages"]


class UnlikeImages(DpbenchError):
    """Public images are not of the private ones' shape."""


class CrossData(Dataset):
    """A data set all of whose classes are private, beside the images of a public one.

    Labelling and test images stay the private data set's own; what it would divide into
    public and private is private. All images of the ``public`` data set are public,
    its test images too, under its own labels.

    Raises:
        UnlikeImages: in :meth:`load`, when channels, height or width differ.
    """

    name = "cross"

    def __init__(self, private: Dataset, public: Dataset) -> None:
        super().__init__(private.params)
        self.private, self.public = private, public
        self.class_names = tuple(getattr(private, "class_names", ()))

    def is_cached(self, cache: Path) -> bool:
        return self.private.is_cached(cache) and self.public.is_cached(cache)

    def location(self, cache: Path) -> str:
        """Where the private data set is kept; empty where it does not say."""
        ask = getattr(self.private, "location", None)
        return "" if ask is None else str(ask(cache))

    def origin(self, cache: Path) -> str:
        """Where the private images came from, and whose images are public."""
        ask = getattr(self.private, "origin", None)
        known = "" if ask is None else str(ask(cache))
        return ", ".join(filter(None, [known, f"public images: {self.public.name}"]))

    def load(self, cache: Path) -> Partition:
        own, other = self.private.load(cache), self.public.load(cache)
        if own.image_shape != other.image_shape:
            raise UnlikeImages(
                f"public images of {self.public.name!r} are {_shape(other)}, those of "
                f"{self.private.name!r} are {_shape(own)}: set size and channels alike"
            )
        private = _joined(own.public, own.private)
        return replace(
            own,
            public=_joined(other.labelling, other.public, other.private, other.test),
            private=private,
            private_classes=tuple(private.labels.unique().tolist()),
        )


def _shape(partition: Partition) -> str:
    return " x ".join(map(str, partition.image_shape))


def _joined(*parts: LabelledImages) -> LabelledImages:
    images, labels = ([getattr(part, what) for part in parts] for what in ("images", "labels"))
    return LabelledImages(torch.cat(images), torch.cat(labels))
