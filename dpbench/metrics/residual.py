"""The residual classifiers on which the field compares synthetic images.

Widths and depths are those that DPImageBench takes for MNIST and Fashion-MNIST: ResNet-110
(He et al. 2016, section 4.2), WRN-40-4 with dropout 0.3 (Zagoruyko and Komodakis 2016) and
ResNeXt-29 with 8 groups (Xie et al. 2017). Images are ``[N, C, H, W]``, outputs logits
``[N, classes]``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["NETWORKS", "resnet", "resnext", "wide_resnet"]


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class _Residual(nn.Module):
    """``body(x)`` plus ``x``, or plus a 1 x 1 convolution of it where the shape changes."""

    def __init__(
        self, body: nn.Sequential, shortcut: nn.Module, before: nn.Module, after: nn.Module
    ) -> None:
        super().__init__()
        self.body, self.shortcut, self.before, self.after = body, shortcut, before, after

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        out: Tensor = self.after(self.body(x) + self.shortcut(x))
        return out


def _shortcut(inputs: int, outputs: int, stride: int, norm: bool) -> nn.Module:
    if inputs == outputs:
        return nn.Identity()
    layers: list[nn.Module] = [_conv(inputs, outputs, 1, stride)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(outputs)] if norm else []))


def _basic(inputs: int, outputs: int, stride: int) -> nn.Module:
    body = nn.Sequential(
        _conv(inputs, outputs, stride=stride),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        _conv(outputs, outputs),
        nn.BatchNorm2d(outputs),
    )
    short = _shortcut(inputs, outputs, stride, norm=True)
    return _Residual(body, short, nn.Identity(), nn.ReLU(inplace=True))


def _preactivated(dropout: float) -> Callable[[int, int, int], nn.Module]:
    """Norms and rectifiers before convolutions; at a change of width the shortcut shares them."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        first: list[nn.Module] = [nn.BatchNorm2d(inputs), nn.ReLU(inplace=False)]
        body = nn.Sequential(
            *([] if inputs != outputs else first),
            _conv(inputs, outputs, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            _conv(outputs, outputs),
        )
        before = nn.Sequential(*(first if inputs != outputs else []))
        short = _shortcut(inputs, outputs, stride, norm=False)
        return _Residual(body, short, before, nn.Identity())

    return block


def _bottleneck(groups: int, widen: int) -> Callable[[int, int, int], nn.Module]:
    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        inner = groups * outputs // widen
        body = nn.Sequential(
            _conv(inputs, inner, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            _conv(inner, inner, stride=stride, groups=groups),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            _conv(inner, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        short = _shortcut(inputs, outputs, stride, norm=True)
        return _Residual(body, short, nn.Identity(), nn.ReLU(inplace=True))

    return block


def _stages(
    block: Callable[[int, int, int], nn.Module], start: int, widths: list[int], depth: int
) -> list[nn.Module]:
    """Build ``depth`` blocks of each width; every width after the first halves the image."""
    layers: list[nn.Module] = []
    for stage, width in enumerate(widths):
        for number in range(depth):
            stride = 2 if stage and not number else 1
            layers.append(block(start, width, stride))
            start = width
    return layers


def _headed(layers: list[nn.Module], width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def resnet(channels: int, classes: int, depth: int = 110) -> nn.Sequential:
    """Plain residual network of ``depth`` = 6n + 2 layers, 16 to 64 channels."""
    stem = [_conv(channels, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    layers = [*stem, *_stages(_basic, 16, [16, 32, 64], (depth - 2) // 6)]
    return _headed(layers, 64, classes)


def wide_resnet(
    channels: int, classes: int, depth: int = 40, widen: int = 4, dropout: float = 0.3
) -> nn.Sequential:
    """Wide residual network of ``depth`` = 6n + 4 layers, ``widen`` times 16 to 64 channels."""
    widths = [16 * widen, 32 * widen, 64 * widen]
    blocks = _stages(_preactivated(dropout), 16, widths, (depth - 4) // 6)
    last = [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
    return _headed([_conv(channels, 16), *blocks, *last], widths[-1], classes)


def resnext(
    channels: int, classes: int, depth: int = 29, groups: int = 8, widen: int = 4
) -> nn.Sequential:
    """Residual network of grouped bottlenecks, ``depth`` = 9n + 2."""
    stem = [_conv(channels, 64), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    widths = [64 * widen, 128 * widen, 256 * widen]
    blocks = _stages(_bottleneck(groups, widen), 64, widths, (depth - 2) // 9)
    return _headed([*stem, *blocks], widths[-1], classes)


def _small_wide(channels: int, classes: int) -> nn.Sequential:
    return wide_resnet(channels, classes, depth=16, widen=1, dropout=0.0)


#: A network by its name: channels and classes to an untrained one.
NETWORKS: dict[str, Callable[[int, int], nn.Sequential]] = {
    "resnet": resnet,
    "wrn": wide_resnet,
    "resnext": resnext,
    "wrn-16-1": _small_wide,
}
