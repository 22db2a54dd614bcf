"""Which trials train together."""

from __future__ import annotations

import math
from typing import Any

from dpbench.component import Component
from dpbench.planning.lanes import MAX_LANES, Candidate, group_lanes
from dpbench.stages import Lane

GAN = Component("generator", "gan", "gan", {})


def candidate(key: str, latents: str = "z", **named: Any) -> Candidate:
    given = {"epsilon": 1.0, "noise_multiplier": None, "params": {"rate": 1, "wide": False}}
    lane = Lane(key=key, delta=1e-5, clip=1.0, seed=0, noise_seed=0, **(given | named))
    return Candidate(lane, latents, GAN, frozenset({"rate"}))


def groups(*candidates: Candidate) -> list[list[str]]:
    tasks = group_lanes(candidates, secure_rng=False)
    return [[lane.key for lane in task.lanes] for task in tasks]


def test_what_a_lane_has_for_itself_does_not_part_it_from_others() -> None:
    other = candidate("b", params={"rate": 2, "wide": False}, epsilon=3.0)
    assert groups(candidate("a"), other) == [["a", "b"]]


def test_other_latents_or_shared_parameters_part_lanes() -> None:
    wide = candidate("c", params={"rate": 1, "wide": True})
    assert groups(candidate("a"), candidate("b", "y"), wide) == [["a"], ["b"], ["c"]]


def test_private_and_non_private_lanes_never_meet() -> None:
    free = candidate("free", epsilon=math.inf)
    noisy = candidate("noisy", epsilon=math.inf, noise_multiplier=1.0)
    assert groups(candidate("a"), free, noisy) == [["a", "noisy"], ["free"]]


def test_a_group_has_a_most_and_keeps_its_order() -> None:
    many = [candidate(str(i)) for i in range(MAX_LANES + 3)]
    first, rest = groups(*many)
    assert first + rest == [each.lane.key for each in many]
    assert len(rest) == 3
