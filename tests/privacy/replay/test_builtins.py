"""No generator of dpbench itself is accused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpbench import plugins
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import ReplayLane, replay

from .small import DELTA, DIM, PRIVATE, PUBLIC

SMALL: dict[str, dict[str, Any]] = {
    "gan": {"hidden": (16,), "critic_hidden": (16,), "steps": 12, "fakes": 16},
    "vae": {"hidden": (16,), "steps": 12},
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("prior", ["normal", "gaussian", "mixture"])
@pytest.mark.parametrize("name", ["gan", "vae"])
def test_a_built_in_generator_passes(name: str, prior: str, count: int) -> None:
    cls = plugins.registry().get("generator", name).cls
    params = cls.Params.model_validate({"prior": prior, **SMALL[name]})
    lanes = [ReplayLane(params, Budget(e, DELTA), clip, 5) for e, clip in ((8.0, 0.5), (1.0, 1.0))]
    verdict = replay(cls, lanes[:count], PUBLIC, PRIVATE, records=300)
    assert verdict.verdict == "passed", verdict.reason
    assert (verdict.lanes, verdict.records) == (count, 300)
    assert verdict.releases >= 12 * count


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("name", ["gan", "vae"])
def test_a_built_in_generator_passes_with_labels(name: str, prior: str) -> None:
    cls = plugins.registry().get("generator", name).cls
    params = cls.Params.model_validate({"prior": prior, **SMALL[name]})
    lanes = [ReplayLane(params, Budget(e, DELTA), clip, 5) for e, clip in ((8.0, 0.5), (1.0, 1.0))]
    labels = torch.arange(len(PRIVATE)) % 3
    verdict = replay(cls, lanes, PUBLIC, PRIVATE, labels=labels, classes=3, records=300)
    assert verdict.verdict == "passed", verdict.reason


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_the_start_alone_passes(name: str) -> None:
    cls = plugins.registry().get("generator", name).cls
    params = cls.Params.model_validate({"prior": "mixture", "steps": 0})
    lane = ReplayLane(params, Budget(1.0, DELTA), 1.0, 5)
    private = PRIVATE + torch.arange(DIM)
    assert replay(cls, [lane], PUBLIC, private).verdict == "passed"
