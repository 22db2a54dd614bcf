"""What a data owner takes home, and what is never in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import torch
from click.testing import Result as Invoked
from fakes import TINY
from torchvision.datasets import ImageFolder

import dpbench as package
from dpbench.planning.config import load_config
from dpbench.planning.keys import trial_seeds
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugins import registry
from dpbench.privacy.statement import in_short, make_statement
from dpbench.release import recompute_epsilon
from dpbench.release.objections import objections
from dpbench.release.sampler import BadRelease
from dpbench.results import Choice, load_results, save_result, selection

Run = Callable[..., Invoked]
TRIAL = "linear-look-MEAN@10"
COUNT = 20


@pytest.fixture
def run(dpbench: Run) -> Run:
    assert dpbench("run", "--no-controls").exit_code == 0
    return dpbench


def release(run: Run, to: str = "shared", *more: object) -> Invoked:
    return run("release", TRIAL, "--n", COUNT, "--to", to, *more)


def test_a_release_can_be_read_by_everybodys_tools(run: Run) -> None:
    done = release(run)
    assert done.exit_code == 0, done.output
    folder = Path("shared")
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "croissant.json", "images", "images.csv", "images.npz", "preview.png",
        "privacy.json", "privacy.md", "recompute_epsilon.py", "sampler.json",
        "sampler.safetensors",
    }  # fmt: skip
    pictures = ImageFolder(str(folder / "images"))
    arrays = np.load(folder / "images.npz")["images"]
    assert len(pictures) == len(arrays) == COUNT
    first = np.asarray(pictures[0][0])[..., 0]
    assert np.array_equal(first, arrays[0])
    assert recompute_epsilon.main([str(folder / "privacy.json")]) == 0
    assert len({path.stat().st_mode for path in folder.iterdir() if path.is_file()}) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_croissant_file_is_valid_and_finds_the_images(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    release(run)
    described = mlcroissant.Dataset(Path("shared/croissant.json"))
    assert not described.metadata.issues.errors
    assert not described.metadata.issues.warnings
    assert not caplog.messages
    assert described.metadata.personal_sensitive_information
    records = list(described.records("images"))
    assert len(records) == COUNT
    assert all((Path("shared") / r["images/path"].decode()).exists() for r in records)


def test_the_sampler_needs_no_data(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    release(run)
    moved = Path("elsewhere")
    Path("shared").rename(moved)
    monkeypatch.chdir(moved)
    sampler = package.load_release(".")
    drawn = sampler.sample(5, seed=3)
    assert drawn.dtype == torch.uint8 and drawn.shape == (5, *sampler.image_shape)
    assert torch.equal(drawn, sampler.sample(5, seed=3))
    assert not torch.equal(drawn, sampler.sample(5))


def test_a_sampler_says_which_packages_it_needs(run: Run) -> None:
    release(run)
    file = Path("shared/sampler.json")
    described = json.loads(file.read_text())
    assert described["packages"]["dpbench"] == package.__version__
    for name, version in described["packages"].items():
        assert f"{name} {version}" in Path("shared/README.md").read_text()
    described["generator"]["plugin"] = "stranger"
    described["packages"]["dpbench-stranger"] = "1.2"
    file.write_text(json.dumps(described))
    with pytest.raises(BadRelease, match=r"'stranger'.*install .*dpbench-stranger 1\.2"):
        package.load_release("shared")


def test_it_is_trained_anew_with_secret_noise(run: Run) -> None:
    release(run)
    statement = json.loads(Path("shared/privacy.json").read_text())
    assert statement["ledger"]["rng"] == "secure"
    assert statement["ledger"]["inclusions"] == []  # samples are secret
    assert 0 < statement["epsilon"] <= 10
    benchmark = load_results(Path("runs"))[0].artifacts["generator"]
    weights = package.load_release("shared").tensors
    trained = {path.name for path in Path("runs/artifacts/generator").iterdir()}
    assert len(trained - {benchmark}) == 1
    assert weights


def test_a_second_release_is_of_the_same_generator(run: Run) -> None:
    release(run)
    assert release(run, "again").exit_code == 0
    first, second = (package.load_release(name).tensors for name in ("shared", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    pictures = [np.load(Path(name) / "images.npz")["images"] for name in ("shared", "again")]
    assert not np.array_equal(*pictures)
    epsilons = [
        json.loads(Path(n, "privacy.json").read_text())["epsilon"] for n in ("shared", "again")
    ]
    assert epsilons[0] == epsilons[1]


def test_a_release_after_cleaning_adds_up(run: Run) -> None:
    release(run)
    once = json.loads(Path("shared/privacy.json").read_text())
    assert "artifacts" in run("clean", "--unreachable").output
    assert release(run, "again").exit_code == 0
    both = json.loads(Path("again/privacy.json").read_text())
    assert len(both["ledger"]["mechanisms"]) == 2 * len(once["ledger"]["mechanisms"])
    assert both["epsilon"] > 1.2 * once["epsilon"]


def test_a_release_by_another_configuration_adds_up(run: Run) -> None:
    release(run)
    once = json.loads(Path("shared/privacy.json").read_text())
    config = Path("benchmarks.toml")
    config.write_text(config.read_text().replace("public_images = 100", "public_images = 90"))
    assert run("run", "--no-controls").exit_code == 0
    assert release(run, "again").exit_code == 0
    both = json.loads(Path("again/privacy.json").read_text())
    assert len(both["ledger"]["mechanisms"]) == 2 * len(once["ledger"]["mechanisms"])
    assert both["epsilon"] > 1.2 * once["epsilon"]


def test_a_directory_that_was_released_from_is_not_merged(run: Run) -> None:
    release(run)
    refused = run("merge", "runs", "--to", "joint")
    assert refused.exit_code == 2 and "holds releases" in refused.output


def test_no_private_image_seed_or_key_is_in_it(run: Run) -> None:
    release(run)
    keys = {path.name for path in Path("runs/artifacts").glob("*/*")}
    (trial,) = plan_trials(load_config(Path("benchmarks.toml"), registry()), Request())
    keys |= {str(seed) for seed in astuple(trial_seeds(trial))}
    texts = [
        p.read_bytes() for p in Path("shared").rglob("*") if p.suffix != ".png" and p.is_file()
    ]
    assert not any(key.encode() in text for key in keys for text in texts)
    described = Path("shared/sampler.json").read_text() + Path("shared/privacy.json").read_text()
    assert '"seed"' not in described and ", seed " not in described


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "collapsed", "reason": "a class is gone"}, "it is collapsed"),
        ({"status": "over-budget", "reason": "spent 11"}, "it is over-budget"),
    ],
)
def test_a_bad_trial_is_refused_unless_forced(run: Run, change: dict[str, Any], said: str) -> None:
    (result,) = load_results(Path("runs"))
    save_result(Path("runs"), result.model_copy(update=change))
    refused = release(run)
    assert refused.exit_code == 2 and said in refused.output and "--force" in refused.output
    assert not Path("shared").exists()
    forced = release(run, "shared", "--force")
    assert forced.exit_code == 0 and f"in spite of: {said}" in forced.output
    card = Path("shared/README.md").read_text()
    assert "against the advice" in card and said in card
    described = json.loads(Path("shared/croissant.json").read_text())
    assert any(said in line for line in described["rai:dataLimitations"])


def test_no_privacy_no_release(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--epsilon", "inf")
    refused = dpbench("release", "linear-look-MEAN@inf", "--to", "shared")
    assert refused.exit_code == 2 and "no privacy" in refused.output


def test_a_choice_of_clip_by_private_scores_is_refused(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--clip", "1", "--clip", "2")
    ambiguous = release(dpbench)
    assert ambiguous.exit_code == 2 and "choose with --clip" in ambiguous.output
    refused = release(dpbench, "shared", "--clip", "1")
    assert refused.exit_code == 2 and "exact private scores choose among them" in refused.output
    forced = release(dpbench, "shared", "--clip", "1", "--force")
    assert forced.exit_code == 0
    assert "against the advice" in Path("shared/README.md").read_text()


def test_a_stated_choice_is_released(dpbench: Run) -> None:
    stated = dpbench(
        "run", "--no-controls", "--clip", "1", "--clip", "2", base="select = 1.0\n" + TINY
    )
    assert stated.exit_code == 0, stated.output
    assert release(dpbench).exit_code == 0
    other = release(dpbench, "other", "--clip", "2")
    assert other.exit_code == 2 and "chose another" in other.output


def test_refutations_and_declared_epsilons_are_objected_to(run: Run) -> None:
    (result,) = load_results(Path("runs"))
    assert result.privacy is not None
    assert not list(objections(result, [result]))
    ledger = result.privacy.ledger.model_copy(update={"trust": "self-declared"})
    declared = result.model_copy(
        update={"privacy": result.privacy.model_copy(update={"ledger": ledger})}
    )
    assert "declares its own epsilon" in " ".join(objections(declared, [declared]))
    noisy = result.model_copy(update={"choice": Choice(rule="noisy", chosen=True, epsilon=12.0)})
    other = result.model_copy(update={"clip": 2.0, "artifacts": {}})
    assert "were in no count" in " ".join(objections(noisy, [noisy, other]))
    counted = noisy.choice.model_copy(update={"among": (noisy.identity_key, other.identity_key)})
    noisy = noisy.model_copy(update={"choice": counted})
    assert "seeded trainings" in " ".join(objections(noisy, [noisy, other]))
    stated = Choice(rule="first", chosen=True)
    both = [r.model_copy(update={"choice": stated}) for r in (result, other)]
    assert "exact private scores choose" in " ".join(objections(both[0], both))
    later = result.model_copy(update={"seed": 1})
    assert "not the first" in " ".join(objections(later, [result, later]))
    assert not list(objections(result, [result, later]))


def test_what_is_claimed_includes_the_choice_and_is_rounded_up(run: Run) -> None:
    (result,) = load_results(Path("runs"))
    paid = result.model_copy(
        update={"secure": True, "choice": Choice(rule="noisy", chosen=True, epsilon=1.00041)}
    )
    other = result.model_copy(update={"clip": 2.0, "artifacts": {}})
    everyone = (paid.identity_key, other.identity_key)
    choice = paid.choice.model_copy(update={"among": everyone})
    paid = paid.model_copy(update={"choice": choice})
    statement = make_statement(paid, selection([paid], [other]))
    assert statement is not None
    assert in_short(statement) == "(1.001, 0.0001)-differentially private"
    by_scores = make_statement(result, selection([result], [other]))
    assert by_scores is not None
    assert in_short(by_scores) == "not differentially private at any finite epsilon"


def test_other_directories_are_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    refused = release(run, "full")
    assert refused.exit_code == 2 and "not empty" in refused.output
    with pytest.raises(BadRelease, match="holds no release"):
        package.load_release(tmp_path / "full")


def test_an_unknown_trial_is_told_its_likeness(run: Run) -> None:
    missing = run("release", "linear-look-MEAM@10", "--to", "shared")
    assert missing.exit_code == 2 and "linear-look-MEAN@10" in missing.output
