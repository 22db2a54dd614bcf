"""Data in the store, each part an artifact of its own, so that workers need no data set plugin.

A stage that names a part's key can read that part and no other: what is learned on
public images cannot depend on private ones, not even through a key.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

from dpbench.api import LabelledImages, Partition
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["PARTS", "DataKeys", "fingerprint", "load_part", "part_id", "save_partition"]

PARTS = ("labelling", "public", "private", "test")


@dataclass(frozen=True)
class DataKeys:
    """The fingerprint of each part of a data set, and which classes are private."""

    labelling: str
    public: str
    private: str
    test: str
    private_classes: tuple[int, ...]

    @classmethod
    def of(cls, partition: Partition) -> DataKeys:
        """Fingerprint every part of ``partition``."""
        keys = {part: fingerprint(getattr(partition, part)) for part in PARTS}
        return cls(**keys, private_classes=tuple(partition.private_classes))

    def parts(self) -> list[ArtifactId]:
        """Return where the parts lie, in the order of :data:`PARTS`."""
        return [part_id(getattr(self, part)) for part in PARTS]


def fingerprint(part: LabelledImages) -> str:
    """Hash the bytes of all images and labels of a part."""
    digest = hashlib.sha256(repr(tuple(part.images.shape)).encode())
    digest.update(part.images.contiguous().numpy().data)
    digest.update(part.labels.contiguous().numpy().data)
    return digest.hexdigest()[:32]


def part_id(key: str) -> ArtifactId:
    """Return where the part of a data set with this fingerprint lies."""
    return ArtifactId("data", key)


def save_partition(store: Store, keys: DataKeys, partition: Partition) -> None:
    """Keep in the store those parts of ``partition`` that are not there whole."""
    for part, where in zip(PARTS, keys.parts(), strict=True):
        labelled: LabelledImages = getattr(partition, part)
        if not store.check(*where):
            tensors = {"images": labelled.images, "labels": labelled.labels}
            store.remove(*where)
            store.save(*where, Artifact({}, tensors))


@functools.lru_cache(maxsize=8)
def load_part(store: Store, key: str) -> LabelledImages:
    """Read one part of a data set; remembered by the process."""
    tensors = store.load(*part_id(key)).tensors
    return LabelledImages(tensors["images"], tensors["labels"])
