"""What a data set promises: four parts of labelled images that do not overlap."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, Dataset, LabelledImages, Partition
from dpbench.runner.data import cache_directory
from dpbench.testing.checks import Figures, NotRun, checking, require
from dpbench.testing.subject import Subject

__all__ = ["DatasetSubject"]

PARTS = ("labelling", "public", "private", "test")
MOST_SHARED = 0.01
"""Part of the private images that may be in another part: real data repeat themselves a little."""


class DatasetSubject(Subject):
    """A data set, as it is in the cache; what would have to be fetched first is not checked."""

    base = Dataset

    def load(self) -> Partition:
        """Return the partition, without a network."""
        dataset: Dataset = self.cls(self.params)
        if dataset.is_cached(cache_directory()):
            return dataset.load(cache_directory())
        raise NotRun(f"{self.cls.name} is not in the cache: `dpbench data --fetch` brings it there")

    @property
    def partition(self) -> Partition:
        """The partition that all checks look at."""
        return self.remember("partition", self.load)

    @property
    def parts(self) -> dict[str, LabelledImages]:
        """The four parts by name."""
        return {name: getattr(self.partition, name) for name in PARTS}

    def work(self, context: Context) -> dict[str, Tensor]:
        loaded = self.load()
        found = {name: getattr(loaded, name) for name in PARTS}
        return {
            f"{what} of the {name} part": getattr(part, what)
            for name, part in found.items()
            for what in ("images", "labels")
        }

    def lent(self) -> dict[str, Tensor]:
        return {}


@checking("dataset")
def parts_are_labelled_images(subject: DatasetSubject) -> None:
    """Every part holds ``uint8`` ``[N, C, H, W]`` of one shape, with ``int64`` labels ``[N]``."""
    shape = subject.partition.image_shape
    for name, part in subject.parts.items():
        images, labels = part.images, part.labels
        what = f"images of the {name} part"
        require(len(part) > 0, f"the {name} part is empty")
        require(images.dtype == torch.uint8, f"{what} are {images.dtype}, not torch.uint8")
        require(tuple(images.shape[1:]) == shape, f"{what} are {tuple(images.shape[1:])}")
        require(shape[0] in (1, 3), f"{what} have {shape[0]} channels, not 1 or 3")
        require(labels.dtype == torch.int64, f"labels of the {name} part are {labels.dtype}")
        require(tuple(labels.shape) == (len(images),), f"the {name} part has another label count")


@checking("dataset")
def private_classes_are_those_of_private_images(subject: DatasetSubject) -> None:
    """Private images have the private classes, each of which is held out as well."""
    partition = subject.partition
    named = set(partition.private_classes)
    private = set(partition.private.labels.unique().tolist())
    require(private == named, f"private images are of {sorted(private)}, not {sorted(named)}")
    missing = named - set(partition.test.labels.unique().tolist())
    require(not missing, f"no test image is of the private classes {sorted(missing)}")


@checking("dataset")
def parts_share_no_images(subject: DatasetSubject) -> Figures:
    """At most one private image in a hundred is in another part too."""
    known = {name: _hashes(part.images) for name, part in subject.parts.items()}
    private = known.pop("private")
    for name, others in known.items():
        part = sum(each in others for each in private) / len(private)
        require(part <= MOST_SHARED, f"{part:.0%} of the private images are in the {name} part too")
    return {"private images": float(len(private)), "different ones": float(len(set(private)))}


def _hashes(images: Tensor) -> set[bytes]:
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in images}


@checking("dataset")
def images_are_not_sorted_by_class(subject: DatasetSubject) -> None:
    """The first half of the private and of the test images holds all of their classes."""
    for name in ("private", "test"):
        labels = subject.parts[name].labels
        missing = set(labels.tolist()) - set(labels[: (len(labels) + 1) // 2].tolist())
        require(not missing, f"the first half of the {name} part has none of {sorted(missing)}")


@checking("dataset")
def images_differ(subject: DatasetSubject) -> None:
    """Images of a part are not all alike."""
    for name, part in subject.parts.items():
        require(bool((part.images != part.images[:1]).any()), f"the {name} part is one image")


@checking("dataset")
def knows_what_is_cached(subject: DatasetSubject) -> None:
    """``is_cached`` answers without fetching, for an empty cache too."""
    with tempfile.TemporaryDirectory() as scratch:
        answer: Any = subject.cls(subject.params).is_cached(Path(scratch))
        require(isinstance(answer, bool), f"is_cached gives {answer!r}")
        left = [str(path.relative_to(scratch)) for path in Path(scratch).iterdir()]
        require(not left, f"is_cached leaves {', '.join(left)} in the cache")
