"""Optimisers over many lanes against ordinary ones, one lane at a time."""

from __future__ import annotations

import torch

from dpbench.privacy.lane_nets import LaneBuffer
from dpbench.privacy.lane_optim import LaneAdam, LaneAverage, LaneLAMB, LaneSGD


def test_adam_equals_torch_with_a_rate_per_lane() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(3, 50, generator=generator)
    rates = [1e-2, 1e-2, 3e-3]
    rows = [flat[lane].clone().requires_grad_() for lane in range(3)]
    references = [
        torch.optim.Adam([row], rate, betas=(0.5, 0.9), weight_decay=1e-2)
        for row, rate in zip(rows, rates, strict=True)
    ]
    again = flat.clone()
    adam, captured = LaneAdam(flat, weight_decay=1e-2), LaneAdam(again, weight_decay=1e-2)
    for _ in range(5):
        grads = torch.randn(3, 50, generator=generator)
        adam.step(grads, rates)
        captured.step(grads, torch.tensor(rates))
        for row, reference, grad in zip(rows, references, grads, strict=True):
            row.grad = grad.clone()
            reference.step()
    torch.testing.assert_close(flat, torch.stack([row.detach() for row in rows]))
    torch.testing.assert_close(again, flat)


def test_lamb_moves_each_tensor_by_its_own_scale() -> None:
    layers, betas, decay = [(4, 3), (3, 2)], (0.9, 0.999), 0.01
    generator = torch.Generator().manual_seed(0)
    params = LaneBuffer.zeros(layers, 2)
    params.initialise([generator, generator])
    params.biases[1].zero_()  # a tensor of norm 0 moves by the rate itself
    rates = [0.1, 0.02]
    tensors = [[t[lane].clone() for t in params.weights + params.biases] for lane in range(2)]
    moments = [[(torch.zeros_like(t), torch.zeros_like(t)) for t in own] for own in tensors]
    lamb = LaneLAMB(params, betas, decay)
    for step in range(1, 4):
        grads = LaneBuffer(layers, torch.randn(params.flat.shape, generator=generator))
        lamb.step(grads.flat, rates)
        for lane in range(2):
            for k, grad in enumerate(g[lane] for g in grads.weights + grads.biases):
                mean, square = moments[lane][k]
                mean = betas[0] * mean + (1 - betas[0]) * grad
                square = betas[1] * square + (1 - betas[1]) * grad**2
                moments[lane][k] = (mean, square)
                values = tensors[lane][k]
                change = (mean / (1 - betas[0] ** step)) / (
                    (square / (1 - betas[1] ** step)).sqrt() + 1e-6
                ) + decay * values
                ratio = values.norm() / change.norm() if values.norm() > 0 else 1.0
                tensors[lane][k] = values - rates[lane] * ratio * change
    for lane in range(2):
        for k, found in enumerate(params.weights + params.biases):
            torch.testing.assert_close(found[lane], tensors[lane][k], rtol=1e-4, atol=1e-6)


def test_sgd_moves_only_the_active_lanes() -> None:
    flat = torch.ones(3, 4)
    LaneSGD(flat, momentum=0.9).step(torch.ones(2, 4), [0.5, 0.25])
    assert flat[:, 0].tolist() == [0.5, 0.75, 1.0]


def test_average_weighs_the_last_steps() -> None:
    flat = torch.zeros(1, 1)
    average = LaneAverage(flat, power=8, every=1)
    for step in range(1000):
        average.blend(flat.fill_(float(step)), average.weight())
    assert 850 < float(average.flat) < 950
