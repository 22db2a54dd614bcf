"""The critic and generator of many lanes: losses, penalties and their written-out gradients."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace, Tape

__all__ = ["AdversarialLoss", "add_free_gradient", "weight_clip_bound"]


@dataclass(frozen=True)
class AdversarialLoss:
    """Derivatives of the losses with respect to the critic's output f.

    ``logistic``: the critic minimises ``softplus(-f(real)) + softplus(f(fake))``, the
    generator ``softplus(-f(fake))``. ``wasserstein``: ``f(fake) - f(real)`` and
    ``-f(fake)``.
    """

    kind: Literal["logistic", "wasserstein"] = "logistic"

    def real_value(self, f: Tensor) -> Tensor:
        """The critic's loss on real records."""
        return torch.nn.functional.softplus(-f) if self.kind == "logistic" else -f

    def real(self, f: Tensor) -> Tensor:
        """d loss / d f on real records; the generator's loss on its own samples is the same."""
        return torch.sigmoid(-f).neg_() if self.kind == "logistic" else torch.full_like(f, -1.0)

    def fake(self, f: Tensor) -> Tensor:
        """d loss / d f of the critic on generated samples."""
        return torch.sigmoid(f) if self.kind == "logistic" else torch.ones_like(f)


def add_free_gradient(
    critic: LaneMLP,
    params: LaneBuffer,
    x: Tensor,
    slope: Tensor | None,
    tape: Tape,
    clip: Tensor | None,
    penalty: float,
    out: LaneBuffer,
    marks: int = 0,
) -> None:
    """Add to ``out`` the mean gradient on ``x`` of a loss and a zero-centred penalty.

    ``tape`` is the critic's pass over ``x`` ``[L, n, d]``; ``slope`` ``[L, n, 1]`` the
    loss's derivative in f (None: penalty only); the penalty is
    ``penalty / 2 * |grad_x f|^2``, over all of x but its last ``marks`` columns. With
    ``clip`` ``[L, 1]`` the loss's per-sample gradients are clipped as the private ones are,
    so that both sides of the game keep equal weight, and the penalty is scaled by the mean
    clipping factor.
    """
    count = x.shape[1]
    traces, slopes = critic.backward(params, tape, torch.ones_like(tape.output), need_input=True)
    assert slopes is not None
    weight = torch.full((x.shape[0], 1, 1), 1.0, device=x.device)
    if slope is not None:
        if clip is not None:
            factor = _clip_factor(traces, slope, clip)
            slope, weight = slope * factor, factor.mean(1, keepdim=True)
        slope = slope / count
    tangents = None
    if penalty > 0:
        direction = slopes * (weight * (penalty / count))
        if marks:
            direction[..., -marks:] = 0
        tangents = critic.tangent(params, tape, direction)
        _add_curvature(critic, params, tape, traces, tangents, out)
    for trace in traces:
        k = trace.layer - critic.first
        left = None if slope is None else trace.inputs * slope
        if tangents is not None:
            left = tangents[k] if left is None else left.add_(tangents[k])
        if left is not None:
            out.weights[trace.layer].baddbmm_(left.transpose(1, 2), trace.delta)
        if slope is not None:
            out.biases[trace.layer].add_((trace.delta * slope).sum(1, keepdim=True))


def _clip_factor(traces: list[LinearTrace], slope: Tensor, clip: Tensor) -> Tensor:
    squares = torch.zeros_like(slope[..., 0])
    for trace in traces:
        wide = torch.linalg.vector_norm(trace.inputs, dim=-1).square_().add_(1)
        squares += torch.linalg.vector_norm(trace.delta, dim=-1).square_().mul_(wide)
    norms = squares.sqrt_() * slope[..., 0].abs()
    return (clip / norms.clamp_min(1e-30)).clamp_max_(1).unsqueeze(-1)


def _add_curvature(
    critic: LaneMLP,
    params: LaneBuffer,
    tape: Tape,
    traces: list[LinearTrace],
    tangents: list[Tensor],
    out: LaneBuffer,
) -> None:
    """Add what the penalty owes to the activation's second derivative (none for leaky ReLU)."""
    deltas = {trace.layer: trace.delta for trace in traces}
    depth = len(critic.sizes) - 1
    grad: Tensor | None = None
    for k in range(depth - 2, -1, -1):
        curvature = critic.activation.curvature(tape.inputs[k + 1])
        if curvature is None:
            return
        above = params.weights[critic.first + k + 1].transpose(1, 2)
        pushed = torch.bmm(tangents[k], params.weights[critic.first + k])
        own = curvature * pushed * torch.bmm(deltas[critic.first + k + 1], above)
        if grad is not None:
            below = torch.bmm(grad, above)
            own = own + critic.activation.backward(below, tape.inputs[k + 1])
        grad = own
        out.weights[critic.first + k].baddbmm_(tape.inputs[k].transpose(1, 2), grad)
        out.biases[critic.first + k].add_(grad.sum(1, keepdim=True))


def weight_clip_bound(critic: LaneMLP, weight_clip: float) -> float:
    """Return the bound on a sample's gradient that weight clipping gives.

    ``2 c_p B_sigma B_sigma'^2 sum_{k=1}^{H-1} m_k m_{k+1}`` (Tang 2023, Eq. 4; Xie et
    al. 2018, Lemma 3.5), with m_k the widths of the H non-input layers.
    Infinite for activations without bounded output.
    """
    output, derivative = critic.activation.bounds
    widths = critic.sizes[1:]
    pairs = sum(a * b for a, b in itertools.pairwise(widths))
    return 2 * weight_clip * output * derivative**2 * pairs
