"""Descent on problems whose answer is known, and who leaves the batch when."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from dpbench.api import Params, PublicModel
from dpbench.extractors.descent import CHECK, DescentParams, descend

DIM, PIXELS = 6, 20


class Linear(PublicModel):
    """Decodes by a matrix, so that inversion is least squares; counts the images decoded."""

    name = "linear"
    provides = frozenset({"decode"})
    latent_dim = DIM

    def __init__(self) -> None:
        super().__init__(Params(), (1, 4, 5))
        rng = torch.Generator().manual_seed(1)
        scales = torch.logspace(0, -0.7, DIM)  # ill-conditioned, as decoders are
        self.matrix = torch.randn(PIXELS, DIM, generator=rng) * scales
        self.decoded = 0

    def fit(self, images: Tensor, context: object) -> None:
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        self.decoded += len(z)
        return (z @ self.matrix.T).view(-1, 1, 4, 5)

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        return torch.full((DIM,), 0.5), 2 * torch.eye(DIM)


def problem(count: int = 12) -> tuple[Linear, Tensor, Tensor]:
    """A model, images that it cannot quite decode, and starts."""
    rng = torch.Generator().manual_seed(2)
    model = Linear()
    z = torch.randn(count, DIM, generator=rng)
    x = (z @ model.matrix.T + 0.1 * torch.randn(count, PIXELS, generator=rng)).view(-1, 1, 4, 5)
    return model, x, torch.randn(count, DIM, generator=rng)


def params(**given: Any) -> DescentParams:
    return DescentParams(**{"knee": 0, "tolerance": 0, "steps": 60, **given})


def exhaustively(**given: Any) -> DescentParams:
    """Plain descent for as long as it takes; its step is on the mean over 20 pixels."""
    return params(optimiser="plain", steps=3000, step_size=0.3, patience=200, **given)


@pytest.mark.parametrize("how", [params(), params(memory=3), exhaustively()])
def test_the_squared_error_is_minimised(how: DescentParams) -> None:
    model, x, start = problem()
    expected = torch.linalg.lstsq(model.matrix, x.flatten(1).T).solution.T
    torch.testing.assert_close(descend(model, x, start, how), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("how", [params(prior=3.0), exhaustively(prior=3.0)])
def test_the_prior_is_a_ridge_around_the_public_mean(how: DescentParams) -> None:
    model, x, start = problem()
    mean, precision = model.latent_statistics()
    # Twice A'A, since the pixel error has no half before it.
    curvature = 2 * model.matrix.T @ model.matrix + 3.0 * precision
    slope = 2 * x.flatten(1) @ model.matrix + 3.0 * mean @ precision
    expected = torch.linalg.solve(curvature, slope.T).T
    torch.testing.assert_close(descend(model, x, start, how), expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("how", [params(steps=300), exhaustively()])
def test_the_bound_is_kept_and_used(how: DescentParams) -> None:
    model, x, start = problem(4)
    radius = torch.tensor([[0.5], [1.0], [2.0], [50.0]])
    found = descend(model, x, start, how, radius)
    assert (found.norm(dim=1, keepdim=True) <= radius * (1 + 1e-5)).all()
    matrix = model.matrix.double().numpy()
    for z, image, bound in zip(found.double().numpy(), x.flatten(1), radius, strict=True):
        target = image.double().numpy()

        def error(v: Any, target: Any = target) -> float:
            return float(((matrix @ v - target) ** 2).sum())

        def room(v: Any, bound: float = bound.item()) -> float:
            return bound * bound - float(v @ v)

        inside = {"type": "ineq", "fun": room}
        best = minimize(error, z * 0.5, constraints=[inside], method="SLSQP").fun
        assert error(z) <= best * 1.05 + 1e-3


@pytest.mark.parametrize("optimiser", ["lbfgs", "plain"])
def test_no_image_ends_worse_than_it_began(optimiser: str) -> None:
    model, x, start = problem()
    for stride in (1e-3, 1e3):  # far too short, far too long
        how = params(optimiser=optimiser, stride=stride, step_size=1e3 * stride, steps=3)
        found = descend(model, x, start, how)
        assert (errors(model, found, x) <= errors(model, start, x)).all()


def errors(model: PublicModel, z: Tensor, x: Tensor) -> Tensor:
    return (model.decode(z) - x).square().flatten(1).sum(1)


def test_a_batch_ends_when_its_last_image_has_finished() -> None:
    model, x, start = problem()
    solved = torch.linalg.lstsq(model.matrix, x.flatten(1).T).solution.T
    descend(model, x, solved, params(tolerance=0.05))
    assert model.decoded == 12 * (1 + CHECK)  # the starts, and up to the first look
    solved[0] = start[0]
    model.decoded = 0
    descend(model, x, solved, params(tolerance=0.05))
    assert model.decoded > 12 * (1 + CHECK)


@pytest.mark.parametrize("optimiser", ["lbfgs", "plain"])
def test_one_image_moves_no_bit_of_another(optimiser: str) -> None:
    """Though it be finished sooner or later than what stood in its place."""
    model, x, start = problem(60)
    how = params(optimiser=optimiser, tolerance=0.05, step_size=0.3)
    solved = torch.linalg.lstsq(model.matrix, x.flatten(1).T).solution.T
    here = descend(model, x, start, how)
    for place in (0, 30, 59):
        other = start.clone()
        other[place] = solved[place]
        there = descend(model, x, other, how)
        rest = torch.arange(60) != place
        assert torch.equal(here[rest], there[rest])


@pytest.mark.parametrize("optimiser", ["lbfgs", "plain"])
def test_stopping_saves_work_and_costs_next_to_nothing(optimiser: str) -> None:
    model, x, start = problem()
    how = {"optimiser": optimiser, "steps": 1200, "step_size": 0.3}
    free = descend(model, x, start, params(**how))
    whole = model.decoded
    early = descend(model, x, start, params(**how, tolerance=1e-3))
    assert model.decoded - whole < 0.7 * whole
    torch.testing.assert_close(
        errors(model, early, x), errors(model, free, x), rtol=0.02, atol=1e-3
    )


def test_an_image_stops_by_itself() -> None:
    model, x, start = problem()
    how = params(tolerance=0.05)
    together = descend(model, x, start, how)
    for i in range(len(x)):
        alone = descend(model, x[i : i + 1], start[i : i + 1], how)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-3, rtol=1e-3)


def test_the_step_of_plain_descent_is_on_the_mean_and_halves_on_a_plateau() -> None:
    model, x, start = problem()
    how = params(optimiser="plain", step_size=0.3, steps=1)
    slope = 2 * (model.decode(start) - x).flatten(1) @ model.matrix / PIXELS
    torch.testing.assert_close(descend(model, x, start, how), start - 0.3 * slope)
    too_long = params(optimiser="plain", step_size=0.8, steps=400, patience=5)
    found = descend(model, x, start, too_long)
    assert (errors(model, found, x) < 0.5 * errors(model, start, x)).all()


def test_an_error_with_a_knee_shrugs_off_an_outlier() -> None:
    model, x, start = problem()
    expected = torch.linalg.lstsq(model.matrix, x.flatten(1).T).solution.T
    spoilt = x.clone()
    spoilt[:, 0, 0, 0] += 5
    robust, squared = (
        descend(model, spoilt, start, params(knee=knee, steps=200)) for knee in (0.05, 0.0)
    )
    assert (robust - expected).norm() < 0.5 * (squared - expected).norm()
