"""A classifier of latents, learned by DP-SGD on labelled records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lane_optim import LaneAdam, LaneAverage
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule

__all__ = ["Classifier", "Lessons", "learn"]

_SCALE, _REACH = 2.0, 2.5
"""Latents are divided by ``sqrt(d) / 2``, and cut at norm 2.5: public ones have norms about 2."""


@dataclass(frozen=True)
class Lessons:
    """How to learn: hidden units (0: logistic regression), steps, expected batch, Adam's rate."""

    hidden: int
    steps: int
    batch: int
    rate: float

    @classmethod
    def of(cls, private: PrivateLatents) -> Lessons:
        """Return what served best on Fashion-MNIST's labelling images (docs/field.md)."""
        epsilon = private.budget.epsilon if private.budget.private else math.inf
        if epsilon < 0.5:  # few parameters, and sampling gains nothing
            return cls(0, 60, private.size, 0.2)
        if epsilon < 3:
            return cls(256, 150, 8192, 0.04)
        return cls(256, 500, 8192, 0.02)


@dataclass(frozen=True)
class Classifier:
    """Parameters ``[1, P]`` of a network from latents ``[B, d]`` to logits ``[B, C]``."""

    mlp: LaneMLP
    flat: Tensor

    @classmethod
    def of_sizes(
        cls, dim: int, hidden: int, classes: int, flat: Tensor | None = None
    ) -> Classifier:
        """Return a network with one hidden layer, or none; parameters are 0 unless given."""
        sizes = (dim, hidden, classes) if hidden else (dim, classes)
        mlp = LaneMLP(sizes, Activation("tanh"))
        return cls(mlp, LaneBuffer.zeros(mlp.layers, 1).flat if flat is None else flat)

    @classmethod
    def of_state(cls, flat: Tensor, dim: int, classes: int) -> Classifier:
        """Return the network of parameters ``flat`` ``[1, P]``; their number says its size."""
        linear, count = (dim + 1) * classes, flat.shape[1]
        hidden = 0 if count == linear else (count - classes) // (dim + 1 + classes)
        return cls.of_sizes(dim, hidden, classes, flat)

    def __call__(self, latents: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of latents ``[B, d]``."""
        params = LaneBuffer(self.mlp.layers, self.flat)
        return self.mlp.forward(params, _seen(latents)[None]).output[0]


def learn(private: PrivateLatents, lessons: Lessons, share: float, name: str) -> Classifier:
    """Learn classes from latents, for ``share`` of ε; each record counts by itself."""
    context, dim, classes = private.context, private.dim, private.classes
    net = Classifier.of_sizes(dim, lessons.hidden, classes)
    params = LaneBuffer.zeros(net.mlp.layers, 1, private.device)
    params.initialise([context.generator(f"{name}:init")], zero_last=True)
    rate = min(1.0, lessons.batch / private.size)
    noise = private.noise_multiplier(rate, lessons.steps, share=share)
    schedule = LaneSchedule(rate, lessons.steps, private.clip, noise)
    engine = DPSGDLanes(params, [private], [schedule], name=name, labelled=True)
    adam, average = LaneAdam(params.flat, betas=(0.9, 0.99)), LaneAverage(params.flat)
    for step in range(lessons.steps):
        grads = engine.gradient(partial(_traces, net.mlp, params, dim))
        adam.step(grads.flat, [lessons.rate * (1 - step / lessons.steps)])
        average.blend(params.flat, average.weight())
        context.progress(step + 1, lessons.steps)
    return Classifier(net.mlp, average.flat.cpu())


def _traces(mlp: LaneMLP, params: LaneBuffer, dim: int, batch: Tensor) -> list[LinearTrace]:
    """Trace the cross-entropy of a batch ``[1, B, d + C]``: latents, and one-hot classes."""
    latents, marks = batch.split([dim, batch.shape[2] - dim], 2)
    tape = mlp.forward(params, _seen(latents))
    return mlp.backward(params, tape, tape.output.softmax(2) - marks)[0]


def _seen(latents: Tensor) -> Tensor:
    x = latents * (_SCALE / math.sqrt(latents.shape[-1]))
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * (_REACH / norms.clamp_min(1e-30)).clamp_max(1)
