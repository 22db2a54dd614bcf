"""Fully connected networks of many lanes at once: one batched product per layer.

All parameters of L lanes lie in one buffer ``[L, P]``; weights are views
``[L, in, out]`` into it, so that optimisers are a handful of operations over the
buffer. Backward passes are written out: they hand over the pairs (input,
pre-activation gradient) from which per-sample gradient norms follow without
any per-sample gradient being formed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Activation", "LaneBuffer", "LaneMLP", "LinearTrace", "Tape"]


@dataclass(frozen=True)
class Activation:
    """An activation function with its derivatives, written in terms of its output.

    ``leaky_relu`` uses ``slope``; ``tempered_sigmoid`` is
    ``scale * sigmoid(temperature * x) - offset`` (Papernot et al. 2021), which
    is tanh at (2, 2, 1).
    """

    name: str = "leaky_relu"
    slope: float = 0.2
    scale: float = 2.0
    temperature: float = 2.0
    offset: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to pre-activations, in place where possible."""
        if self.name == "leaky_relu":
            return torch.nn.functional.leaky_relu_(x, self.slope)
        if self.name == "tanh":
            return x.tanh_()
        return x.mul_(self.temperature).sigmoid_().mul_(self.scale).sub_(self.offset)

    def backward(self, grad: Tensor, y: Tensor) -> Tensor:
        """Multiply ``grad`` by the derivative at the point whose output is ``y``."""
        if self.name == "leaky_relu":
            leaky: Tensor = torch.ops.aten.leaky_relu_backward(grad, y, self.slope, True)
            return leaky
        if self.name == "tanh":
            tanh: Tensor = torch.ops.aten.tanh_backward(grad, y)
            return tanh
        unit = (y + self.offset).div_(self.scale)
        return grad * (self.scale * self.temperature) * unit * (1 - unit)

    def curvature(self, y: Tensor) -> Tensor | None:
        """Return the second derivative where the output is ``y``; None where it is zero."""
        if self.name == "leaky_relu":
            return None
        if self.name == "tanh":
            return -2 * y * (1 - y.square())
        unit = (y + self.offset) / self.scale
        return self.scale * self.temperature**2 * unit * (1 - unit) * (1 - 2 * unit)

    @property
    def bounds(self) -> tuple[float, float]:
        """Largest absolute output and derivative (infinite output for leaky ReLU)."""
        if self.name == "leaky_relu":
            return math.inf, max(1.0, self.slope)
        if self.name == "tanh":
            return 1.0, 1.0
        output = max(abs(self.offset), abs(self.scale - self.offset))
        return output, self.scale * self.temperature / 4


class LaneBuffer:
    """The parameters of L lanes, ``[L, P]``, and views of them layer by layer.

    Layers are (inputs, outputs) pairs; each takes ``inputs * outputs`` weights,
    input-major, then ``outputs`` biases. A layer of no inputs is a bias alone.
    """

    def __init__(self, layers: Sequence[tuple[int, int]], flat: Tensor) -> None:
        self.layers = tuple(layers)
        self.flat = flat
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        self._head: LaneBuffer | None = None
        start = 0
        for inputs, outputs in layers:
            stop = start + inputs * outputs
            self.weights.append(flat[:, start:stop].view(len(flat), inputs, outputs))
            self.biases.append(flat[:, stop : stop + outputs].unsqueeze(1))
            start = stop + outputs

    @classmethod
    def zeros(
        cls, layers: Sequence[tuple[int, int]], lanes: int, device: torch.device | str = "cpu"
    ) -> LaneBuffer:
        size = sum((inputs + 1) * outputs for inputs, outputs in layers)
        return cls(layers, torch.zeros(lanes, size, device=device))

    def initialise(self, generators: Sequence[torch.Generator], zero_last: bool = False) -> None:
        """Draw each lane as ``torch.nn.Linear`` does; ``zero_last`` silences the last layer."""
        for lane, generator in enumerate(generators):
            for k, (inputs, _) in enumerate(self.layers):
                for part in (self.weights[k][lane], self.biases[k][lane]):
                    if zero_last and k == len(self.layers) - 1:
                        part.zero_()
                    else:
                        bound = 1 / math.sqrt(max(1, inputs))
                        draw = torch.rand(part.shape, generator=generator, device=generator.device)
                        part.copy_(draw.mul_(2 * bound).sub_(bound))

    def like(self) -> LaneBuffer:
        """Return a buffer of zeros with the same layout (for gradients)."""
        return LaneBuffer(self.layers, torch.zeros_like(self.flat))

    def head(self, lanes: int) -> LaneBuffer:
        """Return views of the first ``lanes`` lanes; the same ones for the same number."""
        if lanes == len(self.flat):
            return self
        if self._head is None or len(self._head.flat) != lanes:
            self._head = LaneBuffer(self.layers, self.flat[:lanes])
        return self._head


@dataclass
class LinearTrace:
    """What one linear layer's gradient is made of, per sample.

    The gradient of the weights is ``inputs^T delta`` and that of the bias
    ``delta``; ``inputs`` is ``[L, B, in]``, ``delta`` ``[L, B, out]``, ``layer``
    the index in the buffer. With several rows a record they are consecutive.
    """

    layer: int
    inputs: Tensor
    delta: Tensor


@dataclass
class Tape:
    """Inputs of every layer of one forward pass, and its output."""

    inputs: list[Tensor] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True)
class LaneMLP:
    """An MLP that occupies layers ``first .. first + depth - 1`` of a buffer.

    ``sizes`` are the widths from input to output; the activation follows every
    layer but the last.
    """

    sizes: tuple[int, ...]
    activation: Activation = field(default_factory=Activation)
    first: int = 0

    @property
    def layers(self) -> list[tuple[int, int]]:
        """The (inputs, outputs) pairs this network needs in a buffer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def forward(self, params: LaneBuffer, x: Tensor) -> Tape:
        """Map ``x`` ``[L, B, in]`` to ``tape.output`` ``[L, B, out]``."""
        tape = Tape()
        depth = len(self.sizes) - 1
        for k in range(depth):
            tape.inputs.append(x)
            x = torch.baddbmm(params.biases[self.first + k], x, params.weights[self.first + k])
            if k < depth - 1:
                x = self.activation(x)
        tape.output = x
        return tape

    def backward(
        self, params: LaneBuffer, tape: Tape, grad: Tensor, need_input: bool = False
    ) -> tuple[list[LinearTrace], Tensor | None]:
        """Propagate ``grad`` ``[L, B, out]``; return the traces and, if asked, d/dx."""
        traces: list[LinearTrace] = []
        for k in range(len(self.sizes) - 2, -1, -1):
            traces.append(LinearTrace(self.first + k, tape.inputs[k], grad))
            if k > 0 or need_input:
                grad = torch.bmm(grad, params.weights[self.first + k].transpose(1, 2))
            if k > 0:
                grad = self.activation.backward(grad, tape.inputs[k])
        return traces, grad if need_input else None

    def tangent(self, params: LaneBuffer, tape: Tape, direction: Tensor) -> list[Tensor]:
        """Push ``direction`` ``[L, B, in]`` forward; return each layer's incoming tangent."""
        tangents = [direction]
        for k in range(len(self.sizes) - 2):
            pushed = torch.bmm(tangents[-1], params.weights[self.first + k])
            tangents.append(self.activation.backward(pushed, tape.inputs[k + 1]))
        return tangents
