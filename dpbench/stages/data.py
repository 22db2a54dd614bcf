"""Partitions in the store, so that workers need no data set plugin."""

from __future__ import annotations

import functools

from dpbench.api import LabelledImages, Partition
from dpbench.store import Artifact, Store

__all__ = ["load_partition", "save_partition"]

PARTS = ("labelling", "public", "private", "test")


def save_partition(store: Store, key: str, partition: Partition) -> None:
    """Keep a partition in the store, so that workers need no data set plugin."""
    tensors = {}
    for part in PARTS:
        labelled: LabelledImages = getattr(partition, part)
        tensors[f"{part}.images"] = labelled.images
        tensors[f"{part}.labels"] = labelled.labels
    meta = {"private_classes": list(partition.private_classes)}
    store.save("data", key, Artifact(meta, tensors))


@functools.lru_cache(maxsize=2)
def load_partition(store: Store, key: str) -> Partition:
    """Read what :func:`save_partition` wrote; remembered by the process."""
    artifact = store.load("data", key)
    parts = {
        part: LabelledImages(artifact.tensors[f"{part}.images"], artifact.tensors[f"{part}.labels"])
        for part in PARTS
    }
    return Partition(**parts, private_classes=tuple(artifact.meta["private_classes"]))
