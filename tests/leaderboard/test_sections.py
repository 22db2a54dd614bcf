"""What may be compared, what is chosen, what is ranked."""

from __future__ import annotations

import math
from typing import Any

from dpbench.leaderboard.candidates import Target
from dpbench.leaderboard.notes import unranked
from dpbench.leaderboard.sections import Section, make_sections
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import Choice
from leaderboard.fabricate import DOMAIN, INCEPTION, audit, control, controls, grid, privacy, trial

TEN = Target(10.0, None, 1e-6)


def only(results: list) -> Section:
    (section,) = make_sections(results)
    return section


def seeds(method: str, figures: list[float], **changes: Any) -> list:
    return [trial(method, fid=fid, seed=seed, **changes) for seed, fid in enumerate(figures)]


def test_protocols_settings_datasets_and_weights_never_share_a_section() -> None:
    other_weights = {**DOMAIN, "weights_sha256": "f" * 64}
    results = [
        trial(),
        trial(protocol=INCEPTION),
        trial(settings="paper"),
        trial(dataset="fashion-mnist"),
        trial(protocol=other_weights, seed=1),
    ]
    sections = make_sections(results)
    assert [len(section.trials) for section in sections] == [1, 1, 1, 1, 1]
    assert sections[0].place == ("mnist", "default", "canonical")  # the one to cite
    assert sections[1].place == ("mnist", "default", "default")
    assert sections[-1].dataset == "fashion-mnist"


def test_metric_names_in_a_protocol_do_not_part_sections() -> None:
    extended = {**DOMAIN, "metric": "kid", "metric_version": "1"}
    assert len(make_sections([trial(), trial(seed=1, protocol=extended)])) == 1


def test_an_unscored_trial_joins_the_section_of_its_protocol() -> None:
    failed = trial(
        "wgan-GAN", fid=None, status="failed", reason="boom", protocol={"name": "default"}
    )
    section = only([*controls(), trial(), failed])
    assert section.methods == ["ae-enc-GAN", "wgan-GAN"]
    alone = only([failed])
    assert alone.chosen("wgan-GAN", TEN) is None


def test_the_best_clip_is_that_of_the_best_mean_over_seeds() -> None:
    lucky = seeds("ae-enc-GAN", [50.0, 200.0], clip=0.5)
    steady = seeds("ae-enc-GAN", [100.0, 102.0], clip=1.0)
    best = only([*lucky, *steady]).chosen("ae-enc-GAN", TEN)
    assert best is not None and best.clip == 1.0
    figure = best.figure("fid")
    assert figure is not None and figure.mean == 101.0 and figure.count == 2


def test_a_clip_with_a_diverged_seed_is_the_last_resort() -> None:
    broken = [
        *seeds("ae-enc-GAN", [10.0, 11.0], clip=0.5),
        trial("ae-enc-GAN", fid=None, clip=0.5, seed=2, status="diverged", reason="NaN"),
    ]
    whole = seeds("ae-enc-GAN", [100.0, 101.0, 99.0], clip=1.0)
    best = only([*broken, *whole]).chosen("ae-enc-GAN", TEN)
    assert best is not None and best.clip == 1.0
    best = only(broken).chosen("ae-enc-GAN", TEN)
    assert best is not None and best.incomplete


def test_over_budget_is_never_ranked_however_good() -> None:
    over = trial("wgan-GAN", fid=1.0, status="over-budget", reason="spent 12", epsilon_spent=12.0)
    section = only([over, trial("ae-enc-GAN", fid=100.0), trial("wgan-GAN", fid=2.0, seed=1)])
    assert section.chosen("wgan-GAN", TEN) is None
    assert section.ranks(TEN) == {"ae-enc-GAN": "1"}


def test_a_refuted_trial_is_never_ranked() -> None:
    section = only([trial("wgan-GAN", fid=1.0, audit=audit(14.0)), trial("ae-enc-GAN")])
    assert section.ranks(TEN) == {"ae-enc-GAN": "1"}
    section = only([trial("wgan-GAN", fid=1.0, audit=audit(2.0)), trial("ae-enc-GAN")])
    assert section.ranks(TEN)["wgan-GAN"] == "1"


def test_a_refuted_clip_takes_the_methods_other_clips_of_that_target_with_it() -> None:
    results = [
        trial("wgan-GAN", fid=1.0, clip=0.5, audit=audit(14.0)),
        trial("wgan-GAN", fid=2.0),
        trial("wgan-GAN", epsilon=1.0),
    ]
    section = only(results)
    assert section.ranks(TEN) == {}
    assert section.ranks(Target(1.0, None, 1e-6)) == {"wgan-GAN": "1"}
    assert all("refuted: an audit found ε ≥ 14" in line for line in unranked(section))


def test_a_method_that_replay_caught_is_never_ranked() -> None:
    replay = ReplayVerdict(verdict="failed", reason="raw latents in the state")
    leaking = privacy(2.0, 10.0).model_copy(update={"replay": replay})
    section = only([trial("wgan-GAN", privacy=leaking), trial("wgan-GAN", epsilon=1.0)])
    assert [section.ranks(target) for target in section.targets] == [{}, {}]
    assert len(unranked(section)) == 2
    assert "replay failed: raw latents in the state" in unranked(section)[0]


def test_a_stated_rule_chooses_whatever_the_scores() -> None:
    named = Choice(rule="named", chosen=True)
    section = only([trial(fid=300.0, clip=0.5, choice=named), trial(fid=1.0)])
    best = section.chosen("ae-enc-GAN", TEN)
    assert best is not None and best.clip == 0.5
    assert section.with_selection(best) == best.spent
    swept = [trial(fid=fid, axes={"a": fid}, choice=named) for fid in (1.0, 2.0)]
    section = only(swept)
    best = section.chosen("ae-enc-GAN", TEN)
    assert best is not None and section.with_selection(best) == math.inf


def test_a_title_names_the_grids_that_mentioned_the_settings() -> None:
    assert only([trial(grids=("all",))]).title == "mnist, default settings, protocol default"
    of_grids = [trial(settings="1a2b", grids=("wide",)), trial(settings="1a2b", grids=("mine",))]
    assert only(of_grids).title == "mnist, settings 1a2b (grids mine, wide), protocol default"
    assert only([trial(settings="wide", grids=("wide",))]).title.startswith("mnist, wide settings")


def test_a_title_names_what_was_swept_and_the_settings_with_fewer_changes_come_first() -> None:
    smoke, swept = ("f5abc6a9", "8c621cb3")
    rows = [trial(settings=smoke, grids=("smoke",))]
    selectors = ("mine[radius=4|8,steps=100]", "mine[")
    for radius in (8, 4):
        axes = {"generators.mine.radius": radius}
        rows.append(trial(settings=swept, grids=("smoke",), axes=axes, selectors=selectors))
    titles = [section.title for section in make_sections(rows)]
    assert titles == [
        "mnist, settings f5abc6a9 (grid smoke), protocol default",
        "mnist, settings 8c621cb3 (grid smoke; radius = 4|8; steps = 100), protocol default",
    ]


def test_methods_that_seeds_cannot_part_are_tied() -> None:
    results = [
        *seeds("wgan-GAN", [100.0, 110.0, 105.0]),
        *seeds("ae-enc-GAN", [108.0, 101.0, 107.0]),
        *seeds("ae-enc-VAE", [200.0, 210.0, 205.0]),
    ]
    ranks = only(results).ranks(TEN)
    assert ranks == {"wgan-GAN": "1=", "ae-enc-GAN": "1=", "ae-enc-VAE": "3"}


def test_a_collapsed_method_is_ranked_last() -> None:
    collapsed = trial("wgan-GAN", fid=10.0, status="collapsed", reason="a class is missing")
    section = only([collapsed, trial("ae-enc-GAN", fid=50.0), trial("ae-enc-VAE", fid=300.0)])
    assert section.ranks(TEN) == {"ae-enc-GAN": "1", "ae-enc-VAE": "2", "wgan-GAN": "3"}


def test_other_axes_are_candidates_of_their_own() -> None:
    tanh = trial(fid=90.0, axes={"generators.gan.activation": "tanh"})
    relu = trial(fid=80.0, axes={"generators.gan.activation": "relu"})
    section = only([tanh, relu])
    assert len(section.candidates) == 2
    best = section.chosen("ae-enc-GAN", TEN)
    assert best is not None and best.setting == "1, activation = relu"


def test_targets_go_from_least_to_most_private_and_noise_is_named_with_its_epsilon() -> None:
    noisy = trial(epsilon=351.2, epsilon_spent=351.2, noise_multiplier=0.3)
    unfinished = trial("wgan-GAN", epsilon=None, noise_multiplier=0.4, fid=None, status="failed")
    section = only([noisy, unfinished, trial(epsilon=1.0), trial(epsilon=math.inf), trial()])
    names = [section.target_text(target) for target in section.targets]
    assert names == ["ε = ∞", "ε = 10", "ε = 1", "σ = 0.3 (ε = 351)", "σ = 0.4"]


def test_deltas_are_named_where_they_differ() -> None:
    section = only([trial(), trial(delta=1e-5)])
    names = {section.target_text(target) for target in section.targets}
    assert names == {"ε = 10, δ = 1e-6", "ε = 10, δ = 1e-5"}


def test_figures_are_divided_by_that_of_the_public_images() -> None:
    assert only(grid(seeds=1)).public_fid == 710.4
    assert only([trial(), control("real", 2.0)]).public_fid is None
