"""DP-SGD of several flows as one program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lane_optim import LaneAdam, LaneAverage
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench_flow.params import FlowParams, learning_rate
from dpbench_flow.velocity import Guide, VelocityNet

__all__ = ["FlowLane", "runs", "train"]

_ROWS = {"cpu": 2**16, "cuda": 2**20}
"""Most rows (records times draws) of a step, which bounds what activations take."""


@dataclass(frozen=True)
class FlowLane:
    """One trial: what it reads, where its flow starts, and for how long it learns."""

    private: PrivateLatents
    context: Context
    params: FlowParams
    guide: Guide
    schedule: LaneSchedule


def runs(lanes: Sequence[FlowLane]) -> Iterator[list[int]]:
    """Yield indices of lanes by falling number of steps, as many at a time as fit."""
    order = sorted(range(len(lanes)), key=lambda i: -lanes[i].schedule.steps)
    first = lanes[0]
    most = _ROWS.get(first.context.device.type, 2**16)
    widest = max(lane.schedule.sampling_rate for lane in lanes) * first.private.size
    size = max(1, int(most / (widest * first.params.draws)))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def train(lanes: Sequence[FlowLane], net: VelocityNet) -> Tensor:
    """Train ``lanes``, ordered by falling steps; return their parameters ``[L, P]``."""
    device = lanes[0].context.device
    params = LaneBuffer.zeros(net.mlp.layers, len(lanes), device)
    params.initialise([lane.context.generator("init") for lane in lanes], zero_last=True)
    schedules = [lane.schedule for lane in lanes]
    engine = DPSGDLanes(params, [lane.private for lane in lanes], schedules, labelled=True)
    draw = _Draws(lanes, engine)
    adam, average = LaneAdam(params.flat), LaneAverage(params.flat)
    while (active := engine.active) > 0:
        step, head = engine.step, params.head(active)
        rates = [learning_rate(lane.params, lane.schedule, step) for lane in lanes[:active]]
        grads = engine.gradient(partial(_traces, net, head, draw))
        adam.step(grads.flat, rates)
        average.blend(head.flat, average.weight())
        if step % 20 == 0:
            lanes[0].context.progress(step, schedules[0].steps)
    return average.flat if lanes[0].params.average else params.flat


class _Draws:
    """Noise and times for the rows of a batch; each lane draws as it would alone."""

    def __init__(self, lanes: Sequence[FlowLane], engine: DPSGDLanes) -> None:
        self.lanes, self.engine = lanes, engine
        self.count = lanes[0].params.draws
        self._noise = [lane.private.draws("noise") for lane in lanes]
        self._times = [lane.private.draws("times") for lane in lanes]

    def fill(self, noise: Tensor, times: Tensor) -> None:
        """Fill ``noise`` ``[A, B, m, d]`` and ``times`` ``[A, B, m, 1]`` where records are.

        A record's times are stratified: one in each m-th of [0, 1].
        """
        strata = torch.arange(self.count, device=times.device).view(1, -1, 1)
        for lane, size in enumerate(self.engine.sizes[: len(noise)]):
            shape = (size, self.count)
            drawn = self._noise[lane].normal((*shape, noise.shape[-1]), noise.device)
            noise[lane, :size] = drawn
            within = self._times[lane].uniform((*shape, 1), times.device)
            times[lane, :size] = (strata + within) / self.count


def _traces(net: VelocityNet, params: LaneBuffer, draw: _Draws, batch: Tensor) -> list[LinearTrace]:
    """Trace the loss of flow matching less what the guide explains."""
    ends, marks = batch.unsqueeze(2).split([net.dim, net.classes], -1)
    lanes, width, dim = len(batch), batch.shape[1], net.dim
    noise = batch.new_zeros(lanes, width, draw.count, dim)
    times = batch.new_zeros(lanes, width, draw.count, 1)
    draw.fill(noise, times)
    x = torch.lerp(noise, ends.expand_as(noise), times).flatten(1, 2)
    target, times = (ends - noise).flatten(1, 2), times.flatten(1, 2)
    marks = marks.expand(-1, -1, draw.count, -1).flatten(1, 2)
    for lane, own in enumerate(draw.lanes[:lanes]):
        target[lane] -= own.guide(x[lane], times[lane], marks[lane])
    return net.traces(params, x, times, marks, target, draw.count)
