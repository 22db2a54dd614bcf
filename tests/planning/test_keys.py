"""What names artifacts, and what draws their numbers: without a store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from dpbench.component import Component
from dpbench.planning import keys
from dpbench.planning.methods import Method
from dpbench.planning.trials import Trial
from dpbench.results import TrialIdentity
from dpbench.stages import DataKeys

DATA = DataKeys("labelling", "public", "private", "test", (0, 2))
LATENTS = {"standardise": "whiten", "public_images": 100, "augment": True}
EVALUATOR = Component("evaluator", "domain", "domain", {"epochs": 8})
METHOD = Method(
    "ae-enc-GAN",
    Component("public", "ae", "ae", {"width": 16}),
    Component("extractor", "encoder", "encoder", {}),
    Component("generator", "gan", "gan", {"steps": 3}),
)


def trial(method: Method = METHOD, latents: dict[str, Any] | None = None, **named: Any) -> Trial:
    given = {"epsilon": 1.0, "delta": 1e-5, "clip": 1.0, "seed": 0} | named
    identity = TrialIdentity(method=method.name, dataset="tiny", **given)
    return Trial(identity, method, Component("dataset", "tiny", "tiny", {}), latents or LATENTS)


def all_keys(data: DataKeys = DATA, code: str = "1") -> dict[str, str]:
    """Return the key of every stage, from the data up."""
    evaluator = keys.evaluator_key(EVALUATOR, code, data, None)
    public = keys.public_key(METHOD.public, code, data.public)
    latents = keys.latents_key(public, METHOD.extractor, code, LATENTS, data)
    return {
        "evaluator": evaluator,
        "references": keys.references_key(evaluator, data),
        "public": public,
        "latents": latents,
        "generator": keys.generator_key(latents, trial(), code, False),
    }


@pytest.mark.parametrize(
    ("part", "stages"),
    [
        ("private", {"references", "latents", "generator"}),
        ("public", {"public", "latents", "generator"}),
        ("labelling", {"evaluator", "references"}),
        ("test", {"evaluator", "references"}),
    ],
)
def test_a_key_covers_the_parts_of_the_data_that_its_stage_reads_alone(
    part: str, stages: set[str]
) -> None:
    base, changed = all_keys(), all_keys(replace(DATA, **cast(Any, {part: "other"})))
    assert {stage for stage in base if base[stage] != changed[stage]} == stages


def test_other_code_is_another_key() -> None:
    base, changed = all_keys(), all_keys(code="2")
    assert {stage for stage in base if base[stage] != changed[stage]} == {
        "evaluator", "references", "public", "latents", "generator",
    }  # fmt: skip


def test_a_released_evaluator_is_named_by_its_weights_alone() -> None:
    base = keys.evaluator_key(EVALUATOR, "1", DATA, "abc")
    assert keys.evaluator_key(EVALUATOR, "1", replace(DATA, labelling="other"), "abc") == base
    assert keys.evaluator_key(EVALUATOR, "1", DATA, "def") != base


def test_all_that_tells_trials_apart_gives_them_other_seeds() -> None:
    named = replace(METHOD, generator=replace(METHOD.generator, plugin="other"))
    wider = replace(METHOD, public=replace(METHOD.public, params={"width": 17}))
    others = [
        trial(epsilon=2.0),
        trial(epsilon=None, noise_multiplier=1.0),
        trial(clip=2.0),
        trial(seed=1),
        trial(delta=1e-6),
        trial(named),
        trial(wider),
        trial(latents={**LATENTS, "augment": False}),
    ]
    seeds = [keys.trial_seeds(each) for each in (trial(), *others)]
    drawn = [seed for each in seeds for seed in (each.training, each.noise, each.samples)]
    assert len(set(drawn)) == 3 * len(seeds)


def test_what_a_configuration_calls_a_component_changes_neither_key_nor_seed() -> None:
    renamed = replace(METHOD, generator=replace(METHOD.generator, name="mine"))
    assert keys.trial_seeds(trial(renamed)) == keys.trial_seeds(trial())
    assert keys.generator_key("z", trial(renamed), "1", False) == keys.generator_key(
        "z", trial(), "1", False
    )
