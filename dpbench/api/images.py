"""Images with labels, their partition, and how pixels are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LabelledImages", "Partition", "to_float", "to_uint8"]


def to_float(images: Tensor) -> Tensor:
    """Turn ``uint8`` images into ``float32`` in ``[0, 1]``.

    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return images.to(torch.float32).div_(255)


def to_uint8(images: Tensor) -> Tensor:
    """Quantise ``[0, 1]`` images to ``uint8``: clamp, then round to nearest.

    Real and generated images pass through the same rule before any metric.

    >>> to_uint8(torch.tensor([-0.5, 0.5, 2.0])).tolist()
    [0, 128, 255]
    """
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


@dataclass(frozen=True)
class LabelledImages:
    """``images`` uint8 ``[N, C, H, W]`` with ``labels`` int64 ``[N]``.

    >>> images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    >>> digits = LabelledImages(images, torch.tensor([0, 1, 2, 1]))
    >>> len(digits), len(digits.of_classes((1,)))
    (4, 2)
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def of_classes(self, classes: Sequence[int]) -> LabelledImages:
        """Keep only the images whose label is one of ``classes``, in order."""
        keep = torch.isin(self.labels, torch.tensor(list(classes)))
        return LabelledImages(self.images[keep], self.labels[keep])


@dataclass(frozen=True)
class Partition:
    """The four disjoint parts of a data set, and which classes are private.

    ``labelling`` trains the evaluator, ``public`` trains public models,
    ``private`` is what must be protected, ``test`` is held out (all classes).
    """

    labelling: LabelledImages
    public: LabelledImages
    private: LabelledImages
    test: LabelledImages
    private_classes: tuple[int, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``, the same for every part."""
        channels, height, width = self.private.images.shape[1:]
        return channels, height, width

    @property
    def private_test(self) -> LabelledImages:
        """Held-out images of the private classes."""
        return self.test.of_classes(self.private_classes)
