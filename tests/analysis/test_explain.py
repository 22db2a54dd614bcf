"""What the scores of a run come from."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from leaderboard.fabricate import control, trial

from dpbench.analysis.explain import explain
from dpbench.cli.main import cli
from dpbench.leaderboard.sections import make_sections
from dpbench.results import Result, save_result

METHODS = ("ae-enc-GAN", "ae-enc-VAE", "ae-grad-GAN", "ae-grad-VAE")
CLIPS = (0.5, 1.0, 2.0)


def board(**weights: float) -> list[Result]:
    """Make a balanced grid whose log FID is a sum of known effects."""
    found = []
    for method, epsilon, clip, seed in itertools.product(
        METHODS, (1.0, 10.0), (0.5, 1.0, 2.0), range(3)
    ):
        effect = (
            weights.get("generator", 0) * method.endswith("VAE")
            + weights.get("extractor", 0) * ("grad" in method)
            + weights.get("epsilon", 0) * (epsilon == 1)
            + weights.get("clip", 0) * abs(math.log2(clip))
        )
        found.append(trial(method, epsilon, clip=clip, seed=seed, fid=50 * math.exp(effect)))
    return found


def shares(results: list[Result]) -> dict[str, float]:
    (section,) = make_sections(results)
    return {share.factor: share.share for share in explain(section).shares}


def test_additive_effects_are_found_and_come_to_one() -> None:
    found = shares(board(generator=0.3, epsilon=0.6))
    assert found["generator"] == pytest.approx(0.2) and found["epsilon"] == pytest.approx(0.8)
    assert sum(found.values()) == pytest.approx(1)
    assert next(iter(found)) == "epsilon"


def test_what_cannot_be_told_apart_is_shared() -> None:
    rows = [r for r in board(extractor=0.5) if r.seed == 0 and r.clip == 1]
    confounded = [
        r.model_copy(update={"public": "wgan" if "grad" in r.method else "ae"}) for r in rows
    ]
    found = shares(confounded)
    assert found["public model"] == pytest.approx(found["extractor"]) == pytest.approx(0.5)


def sentences(results: list[Result]) -> str:
    (section,) = make_sections(results)
    return " ".join(explain(section).sentences)


def test_the_best_method_and_a_clip_at_the_edge_are_told() -> None:
    rows = [
        trial(method, 1.0, clip=clip, seed=seed, fid=base * clip * (1 + 0.01 * seed))
        for method, base in (("ae-enc-GAN", 50.0), ("ae-enc-VAE", 80.0))
        for clip in (0.5, 1.0, 2.0)
        for seed in range(4)
    ]
    told = sentences(rows)
    assert "ae-enc-GAN is best: ae-enc-VAE has 60% more FID (surely)" in told
    assert "too narrow for ae-enc-GAN at ε = 1 (clip 0.5, the tightest)" in told


@pytest.mark.parametrize("luck", range(12))
def test_a_method_is_surely_best_where_the_ranks_say_so(luck: int) -> None:
    rng = random.Random(luck)
    rows = [
        trial(
            f"ae-enc-{name}",
            1.0,
            fid=100 + 3 * place - 7 * (not place) + rng.gauss(0, 2),
            seed=seed,
        )
        for place, name in enumerate("ABCDEFGHIJKL")
        for seed in range(3)
    ]
    (section,) = make_sections(rows)
    (said,) = (line for line in explain(section).sentences if " is best" in line)
    label = section.ranks(section.targets[0])[said.split()[4]]
    assert ("(surely)" in said) == (label == "1")


@pytest.mark.parametrize("usual", [1, 3])
def test_one_seed_makes_nothing_sure(usual: int) -> None:
    counts = {"ae-enc-GAN": 2, "ae-enc-VAE": 1, "ae-grad-GAN": usual, "ae-grad-VAE": usual}
    rows = [
        trial(method, 1.0, fid=50.0 * (1 + place) + seed, seed=seed)
        for place, (method, count) in enumerate(counts.items())
        for seed in range(count)
    ]
    assert "ae-enc-GAN is best: ae-enc-VAE has 98% more FID (with one seed, so untested)" in (
        sentences(rows)
    )


def test_the_costliest_stage_is_named() -> None:
    rows = [
        control("reconstruction", 5.0, public="ae", extractor="encoder"),
        *(trial("ae-enc-GAN", e, fid=f) for e, f in ((math.inf, 8.0), (10.0, 10.0), (1.0, 60.0))),
    ]
    told = sentences(rows)
    assert "At ε = 1 privacy costs most of the FID of ae-enc-GAN" in told
    assert "At ε = 10 reconstruction costs most" in told


def test_a_start_that_training_improves_on() -> None:
    rows = [
        trial(method, 1.0, seed=seed, fid=base + 0.1 * seed)
        for method, base in (("ae-enc-GAN+mixture", 40.0), ("ae-enc-GAN+mixture (start)", 50.0))
        for seed in range(5)
    ]
    assert (
        "ae-enc-GAN+mixture has 80% of the FID of ae-enc-GAN+mixture (start) (better)"
        in sentences(rows)
    )


def test_of_no_fid_at_all_nothing_is_a_share() -> None:
    start = "ae-enc-GAN+mixture"
    rows = [
        trial(method, 1.0, seed=seed, fid=fid)
        for method, fid in ((start, 40.0), (f"{start} (start)", 0.0), ("ae-enc-VAE", 9.0))
        for seed in range(3)
    ]
    told = sentences(rows)
    assert "ae-enc-VAE has more FID (" in told and "% of the FID" not in told


def test_the_verb_prints_and_draws(tmp_path: Path) -> None:
    for result in board(generator=0.3, epsilon=0.6):
        save_result(tmp_path / "runs", result)
    plot = tmp_path / "shares.png"
    done = CliRunner().invoke(
        cli, ["explain", "--runs", str(tmp_path / "runs"), "--plot", str(plot)]
    )
    assert done.exit_code == 0, done.output
    assert "72 trials" in done.output and "80.0%" in done.output
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_a_lone_trial_is_said_to_explain_nothing(tmp_path: Path) -> None:
    save_result(tmp_path, trial())
    done = CliRunner().invoke(cli, ["explain", "--runs", str(tmp_path)])
    assert "1 trial\n- Too few trials that differ" in done.output
