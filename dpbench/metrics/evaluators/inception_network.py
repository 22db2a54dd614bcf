"""pytorch-fid's port of the 2015 TensorFlow Inception network.

Apart from the evaluator, for torchvision takes long to import.
"""

from __future__ import annotations

import torch
from pytorch_fid.inception import (
    FIDInceptionA,
    FIDInceptionC,
    FIDInceptionE_1,
    FIDInceptionE_2,
)
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import Inception3
from torchvision.models.inception import BasicConv2d

__all__ = ["LOGITS", "fid_inception", "trunk"]

LOGITS = 1008


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


def trunk(network: Inception3) -> nn.Sequential:
    """Everything before the last layer, normalisation folded into the convolutions."""
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.add_module("bn", nn.Identity())
    parts = [part for name, part in network.named_children() if name not in ("dropout", "fc")]
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)
