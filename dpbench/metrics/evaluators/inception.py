"""The canonical evaluator: the 2015 TensorFlow Inception network, ported by pytorch-fid."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from pytorch_fid.inception import (
    FIDInceptionA,
    FIDInceptionC,
    FIDInceptionE_1,
    FIDInceptionE_2,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import Inception3
from torchvision.models.inception import BasicConv2d

from dpbench.metrics.evaluators.base import Evaluator, state_sha256
from dpbench.metrics.evaluators.weights import (
    Fetch,
    WeightsError,
    download,
    inception_weights_file,
)

__all__ = ["InceptionEvaluator", "Recipe", "fid_inception", "load_inception", "resize_tensorflow"]

SIZE = 299
LOGITS = 1008
Recipe = Literal["pytorch-fid", "torch-fidelity"]


def fid_inception() -> Inception3:
    """Build pytorch-fid's network without fetching weights; 1,008 outputs.

    It is torchvision's Inception with the blocks that pytorch-fid patches to
    behave as TensorFlow's pooling does.
    """
    network = Inception3(num_classes=LOGITS, aux_logits=False, init_weights=False)
    network.Mixed_5b = FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = FIDInceptionE_1(1280)
    network.Mixed_7c = FIDInceptionE_2(2048)
    return network


class InceptionEvaluator(Evaluator):
    """Pool-3 features and unbiased logits of :func:`fid_inception`, in one pass.

    Args:
        network: with its weights loaded.
        weights_sha256: hash of the weights file; of the tensors when left out.
        recipe: how images enter the network. ``"pytorch-fid"`` (canonical):
            bilinear resize with half-pixel centres, ``2x / 255 - 1``.
            ``"torch-fidelity"``: TensorFlow 1's bilinear resize, without
            half-pixel centres, ``(x - 128) / 128``. The two packages differ in
            both, so their scores differ slightly on equal images and weights.
    """

    name = "inception"
    feature_dim = 2048
    classes = LOGITS
    batch_size = 50

    def __init__(
        self,
        network: Inception3,
        weights_sha256: str | None = None,
        recipe: Recipe = "pytorch-fid",
    ) -> None:
        self.weights_sha256 = weights_sha256 or state_sha256(network.state_dict())
        self.recipe = recipe
        self._unbiased = network.fc.weight.detach().clone()
        self.network = _trunk(network.eval().requires_grad_(False))

    def to(self, device: torch.device | str) -> InceptionEvaluator:
        super().to(device)
        self._unbiased = self._unbiased.to(self.device)
        return self

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.float().expand(-1, 3, -1, -1)  # grey: three equal channels
        if self.recipe == "pytorch-fid":
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
            "resize": f"bilinear to {SIZE}, as {self.recipe}",
            "batch_size": self.batch_size,
        }


def load_inception(
    weights: Path | None, cache: Path, fetch: bool = True, get: Fetch = download
) -> InceptionEvaluator:
    """Return the canonical evaluator with the released weights, on the CPU.

    Args:
        weights: a file named by the user; otherwise ``cache`` is looked into,
            and after it the release page, if ``fetch`` allows.
        cache: directory for what is fetched.
        get: fetches a URL's bytes; replaced in tests.

    Raises:
        WeightsError: no weights, or a file that is not the released one.
    """
    path, sha256 = inception_weights_file(weights, cache, fetch, get)
    network = fid_inception()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, ValueError, UnpicklingError) as error:
        cause = str(error).splitlines()[0]
        raise WeightsError(f"{path} cannot be read as weights ({cause}): fetch it again") from error
    return InceptionEvaluator(network, sha256)


def _trunk(network: Inception3) -> nn.Sequential:
    """Everything before the last layer, normalisation folded into the convolutions."""
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.add_module("bn", nn.Identity())
    parts = [part for name, part in network.named_children() if name not in ("dropout", "fc")]
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


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
