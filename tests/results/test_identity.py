"""What names a trial, and which trials a choice is among."""

from __future__ import annotations

import math

from leaderboard.fabricate import INCEPTION, trial

from dpbench.results import Result, TrialIdentity, rivals


def test_a_row_is_named_by_its_identity_and_its_protocol() -> None:
    row = trial(axes={"generators.gan.width": 3})
    assert row.identity == row.model_copy(update={"metrics": {}, "status": "failed"}).identity
    other = row.model_copy(update={"protocol": INCEPTION})
    assert other.identity_key == row.identity_key and other.key != row.key
    assert TrialIdentity.model_validate(row.identity.model_dump(mode="json")) == row.identity


def test_every_field_of_an_identity_tells_trials_apart() -> None:
    row = trial()
    other = {
        "method": "x", "public": "x", "extractor": "x", "generator": "x", "dataset": "x",
        "settings": "x", "labels": "private", "epsilon": math.inf, "noise_multiplier": 3.0,
        "delta": 0.5, "clip": 7.0, "seed": 9, "axes": {"a": 1},
    }  # fmt: skip
    assert set(other) == set(TrialIdentity.model_fields)
    changed = [row.model_copy(update={name: value}) for name, value in other.items()]
    assert len({one.key for one in (row, *changed)}) == 1 + len(other)


def test_what_is_varied_within_a_cell_is_all_but_the_seed() -> None:
    row = trial(axes={"generators.gan.width": 3}, clip=0.5, seed=4)
    assert row.varied == {"clip": 0.5, "axes": {"generators.gan.width": 3}}
    same = trial(axes={"generators.gan.width": 4}, clip=2.0, seed=5, settings="x", generator="x")
    assert row.cell_key == same.cell_key != trial(epsilon=1.0).cell_key


def test_one_trial_under_two_protocols_is_one_rival() -> None:
    rows = [trial(), trial(protocol=INCEPTION)]
    assert len(rivals(rows, rows[0])) == 1


def test_rivals_are_whatever_is_varied_of_one_method_at_one_target() -> None:
    chosen = trial()
    among: list[Result] = [
        chosen, trial(clip=2.0), trial(seed=1), trial(axes={"a": 1}), trial(settings="x"),
        trial(generator="alias"),
    ]  # fmt: skip
    others = [
        trial("b-GAN"), trial(epsilon=1.0), trial(delta=1e-5),
        trial(dataset="x"), trial(epsilon=10.0, noise_multiplier=0.5),
    ]  # fmt: skip
    assert rivals([*among, *others], chosen) == among
