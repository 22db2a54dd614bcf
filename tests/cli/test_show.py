"""``dpbench show`` and ``dpbench open`` as a user calls them."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from leaderboard.artifacts import with_artifacts
from leaderboard.fabricate import audit, grid, trial
from PIL import Image

from dpbench.cli.images import inline, protocol_of
from dpbench.cli.main import cli
from dpbench.executors.log import log_path
from dpbench.planning.config import load_config
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugins import registry
from dpbench.results import load_results, save_result
from dpbench.store import Store


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    store = Store(tmp_path / "artifacts")
    rows = [trial(seed=s, fid=90.0 + s, audit=audit(2.0) if s else None) for s in range(3)]
    for row in with_artifacts([*rows, trial(clip=2.0, fid=300.0)], store):
        save_result(tmp_path, row.model_copy(update={"seconds": {"generator": 61.0}}))
    return tmp_path


def test_everything_of_a_trial_is_shown(runs: Path) -> None:
    log_path(runs / "logs", "score/f0/default").parent.mkdir()
    log_path(runs / "logs", "score/f0/default").write_text("first\nit went well\n")
    text = call("show", "ae-enc-GAN@10", "--runs", runs).output
    assert "ae-enc-GAN at ε = 10, clip 1, seed 0" in text
    assert re.search(
        r"FID \(domain\): 91.0 \(95% [\d.]+ to [\d.]+, 3 seeds\); this seed 90.0", text
    )
    assert "ε claimed 10, accounted 9.95, with selection ∞" in text
    assert "dp-sgd: 100 x noise multiplier 2" in text and "generator: 1 min 01 s" in text
    assert "none yet: dpbench audit ae-enc-GAN" in text
    assert "score-f0-default.txt:itwentwell" in "".join(text.split())
    (picture,) = (runs / "samples").glob("*.png")
    assert str(picture) in text
    with Image.open(picture) as image:
        assert image.size == (10 * 14 - 2, 2 * 14 - 2)


def test_hyperparameters_are_the_trials_own_or_said_to_be_none_of_its(tmp_path: Path) -> None:
    config = tmp_path / "benchmarks.toml"
    grid_of = "[grids.tiny]\nepsilon = [10]\nclip = [1]\ngenerators.vae = {{ steps = {steps} }}\n"
    config.write_text(grid_of.format(steps=77))
    request = Request(("tiny",), seeds=(0,))
    planned = plan_trials(load_config(config, registry()), request)
    own = next(one for one in planned if one.identity.method == "ae-enc-VAE")
    runs = tmp_path / "runs"
    named = own.identity.model_dump(exclude={"method", "epsilon"})
    save_result(runs, trial("ae-enc-VAE", grids=("tiny",), **named))

    def shown() -> str:
        return call("show", "ae-enc-VAE@10", "--config", config, "--runs", runs).output

    assert "steps 77" in shown() and "not kept" not in shown()
    config.write_text(grid_of.format(steps=78))  # another digest
    assert "own values were not kept; the defaults are:" in " ".join(shown().split())
    assert "steps 7" not in shown()


def test_trials_that_train_together_show_the_log_they_share(tmp_path: Path) -> None:
    for number in range(2):
        keys = {"latents": "l", "generator": f"g{number}", "features": f"f{number}"}
        save_result(tmp_path, trial(seed=number, artifacts=keys))
    shared = log_path(tmp_path / "logs", "generator/g0")
    shared.parent.mkdir()
    shared.write_text("loss 0.5\n")
    for seed in range(2):
        text = call("show", "ae-enc-GAN@10", "--seed", seed, "--runs", tmp_path).output
        assert "generator-g0.txt:loss0.5" in "".join(text.split())  # lines end anywhere


def test_a_rank_is_among_those_ranked_and_given_noise_is_no_infinity(tmp_path: Path) -> None:
    for method, fid in (("ae-enc-A", 5.0), ("ae-enc-B", 6.0)):
        save_result(tmp_path, trial(method, 3.0, fid=fid, noise_multiplier=1.5))
    save_result(tmp_path, trial("ae-enc-A", float("inf")))
    for method in "CDEF":
        save_result(tmp_path, trial(f"ae-enc-{method}", 1.0))
    assert "rank 1 of 2;" in call("show", "ae-enc-A@3", "--runs", tmp_path).output
    assert "ae-enc-A at ε = ∞" in call("show", "ae-enc-A@inf", "--runs", tmp_path).output
    lost = call("show", "ae-enc-B@inf", "--runs", tmp_path)
    assert lost.exit_code == 2 and "no trial 'ae-enc-B@inf'" in lost.stderr


@pytest.mark.parametrize("how", ["name", "key", "row"])
def test_a_trial_is_found_by_name_key_and_row(runs: Path, how: str) -> None:
    results = load_results(runs)
    wanted = next(result for result in results if result.clip == 1.0 and result.seed == 1)
    name = {"name": "AE-enc-gan@10", "key": wanted.key[:8], "row": results.index(wanted) + 1}[how]
    more = ["--seed", 1] if how == "name" else []
    assert "clip 1, seed 1" in call("show", name, "--runs", runs, *more).output
    assert "clip 2, seed 0" in call("show", "ae-enc-GAN@10", "--clip", 2, "--runs", runs).output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ae-enc-GNA@10",
            "no trial 'ae-enc-GNA@10' in these runs; did you mean 'ae-enc-GAN@10'? (",
        ),
        ("77", "there are 4 rows"),
    ],
)
def test_a_trial_that_is_not_there_is_one_line(runs: Path, name: str, said: str) -> None:
    result = call("show", name, "--runs", runs)
    assert result.exit_code == 2 and said in result.output
    assert len(result.output.splitlines()) == 1


def test_a_trial_without_artifacts_is_shown_without_samples(tmp_path: Path) -> None:
    for row in grid(seeds=1):
        save_result(tmp_path, row)
    text = call("show", "wgan-VAE@inf", "--runs", tmp_path).output
    assert "wgan-VAE at ε = ∞" in text and "no samples of wgan-VAE are kept" in text


def test_terminals_are_told_apart() -> None:
    assert protocol_of({"TERM": "xterm-kitty"}) == "kitty"
    assert protocol_of({"TERM_PROGRAM": "iTerm.app"}) == "iterm"
    assert protocol_of({"TERM": "foot"}) == "sixel"
    assert protocol_of({"TERM": "xterm-256color"}) == "blocks"


def test_pictures_in_a_terminal_keep_their_pixels() -> None:
    pixels = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
    (kitty,) = re.findall(r"\x1b_Ga=T,f=100,m=0;([^\x1b]*)\x1b\\", inline(pixels, "kitty", 80))
    assert base64.b64decode(kitty).startswith(b"\x89PNG")
    assert re.search(r"1337;File=inline=1;width=40px:[\w+/=]+\x07", inline(pixels, "iterm", 80))
    sixel = inline(np.full((6, 4), 255, np.uint8), "sixel", 80)
    assert sixel.startswith("\x1bPq#0;2;0;0;0#1;2;6;6;6") and sixel.count("#15!8~-") == 2
    blocks = inline(pixels, "blocks", 80)
    assert blocks.count("▀") == 6 * 20 and "38;2;0;0;0;48;2;20;20;20m▀" in blocks
    assert max(line.count("▀") for line in inline(pixels, "blocks", 10).splitlines()) == 10


def test_open_writes_the_page_where_results_are_newer(runs: Path) -> None:
    page = runs / "leaderboard" / "index.html"
    assert call("open", "--print", "--runs", runs).output.strip() == str(page)
    before = page.stat().st_mtime_ns
    call("open", "--print", "--runs", runs)
    assert page.stat().st_mtime_ns == before
    os.utime(page, (1, 1))
    call("open", "--print", "--runs", runs)
    assert page.stat().st_mtime_ns > before


def test_open_writes_the_page_anew_where_a_result_went(runs: Path) -> None:
    save_result(runs, trial("ae-enc-VAE", grids=("x",)))
    page = runs / "leaderboard" / "index.html"
    call("open", "--print", "--runs", runs)
    assert "ae-enc-VAE" in page.read_text()
    call("clean", "--runs", runs, "--grid", "x", "--published", runs / "none.csv")
    call("open", "--print", "--runs", runs)
    assert "ae-enc-VAE" not in page.read_text()


def test_open_without_a_browser_says_where_the_page_is(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.launch", lambda _page: 1)
    result = call("open", "--runs", runs)
    assert result.exit_code == 2 and "index.html yourself" in result.output
