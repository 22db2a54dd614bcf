"""The canonical evaluator: the 2015 TensorFlow Inception network, ported by pytorch-fid."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Evaluator, Params, Weights, state_sha256
from dpbench.metrics.evaluators.weights import WeightsError, inception_weights_file

if TYPE_CHECKING:
    from torchvision.models import Inception3

__all__ = ["InceptionEvaluator", "InceptionParams", "Recipe", "resize_tensorflow"]

SIZE = 299
Recipe = Literal["pytorch-fid", "torch-fidelity"]


class InceptionParams(Params):
    """How images enter the network.

    ``"pytorch-fid"`` (canonical): bilinear resize with half-pixel centres, ``2x / 255 - 1``.
    ``"torch-fidelity"``: TensorFlow 1's bilinear resize, without half-pixel centres,
    ``(x - 128) / 128``. The two packages differ in both, so their scores differ slightly
    on equal images and weights.

    Attributes:
        recipe: whose preprocessing.
    """

    recipe: Recipe = "pytorch-fid"


class InceptionEvaluator(Evaluator):
    """Pool-3 features and unbiased logits of pytorch-fid's network, in one pass."""

    name = "inception"
    Params = InceptionParams
    params: InceptionParams
    feature_dim = 2048
    batch_size = 50

    @classmethod
    def weights(cls, params: InceptionParams, given: Path | None, cache: Path) -> Weights:
        return Weights(*inception_weights_file(given, cache))

    def load(self, weights: Path) -> None:
        """Read the released weights.

        Raises:
            WeightsError: no such file, or one that is not the released one.
        """
        from dpbench.metrics.evaluators.inception_network import fid_inception

        path, sha256 = inception_weights_file(weights, weights.parent)
        network = fid_inception()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (RuntimeError, OSError, ValueError, UnpicklingError) as error:
            cause = str(error).splitlines()[0]
            raise WeightsError(
                f"{path} cannot be read as weights ({cause}): fetch it again"
            ) from error
        self.use(network, sha256)

    def use(self, network: Inception3, weights_sha256: str | None = None) -> Self:
        """Take a network with its weights loaded; hash its tensors if no hash is given."""
        from dpbench.metrics.evaluators.inception_network import trunk

        self.weights_sha256 = weights_sha256 or state_sha256(network.state_dict())
        self.classes = network.fc.out_features
        self._unbiased = network.fc.weight.detach().clone()
        self.network = trunk(network.eval().requires_grad_(False))
        return self

    def to(self, device: torch.device | str) -> Self:
        super().to(device)
        self._unbiased = self._unbiased.to(self.device)
        return self

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.float().expand(-1, 3, -1, -1)  # grey: three equal channels
        if self.params.recipe == "pytorch-fid":
            x = F.interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
            x = x / 127.5 - 1
        else:
            x = resize_tensorflow(x, SIZE) / 128 - 1
        features = self.network(x.contiguous(memory_format=torch.channels_last)).flatten(1)
        return features, features @ self._unbiased.T

    def describe(self) -> dict[str, Any]:
        return {
            "network": "inception-2015-12-05 (pytorch-fid), 1008 unbiased logits",
            "weights_sha256": self.weights_sha256,
            "feature_dim": self.feature_dim,
            "resize": f"bilinear to {SIZE}, as {self.params.recipe}",
            "batch_size": self.batch_size,
        }


def resize_tensorflow(x: Tensor, size: int) -> Tensor:
    """Resize ``[N, C, H, W]`` to squares as TensorFlow 1 did: bilinear, corners at 0.

    Output pixel ``i`` reads input position ``i * H / size``; pixels beyond the
    edge repeat it.
    """
    for axis in (2, 3):
        length = x.shape[axis]
        position = torch.arange(size, device=x.device) * (length / size)
        low = position.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (position - low).to(x.dtype).view([-1 if a == axis else 1 for a in range(4)])
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x
