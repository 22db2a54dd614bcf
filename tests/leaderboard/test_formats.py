"""Every format parses back to what went in, and says what a reader must know."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any, Literal

import pytest

from dpbench.leaderboard import Leaderboard, render
from dpbench.leaderboard.report import By, make_report
from dpbench.leaderboard.terminal import terminal
from dpbench.leaderboard.words import delta_text, number, significant
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import Choice, Result, SetAside
from leaderboard.fabricate import INCEPTION, audit, controls, grid, privacy, trial

#: What a report knows beside the fields of a result.
ADDED = ("epsilon_with_selection", "epsilon_audited")
FIELDS = {
    "method", "public", "extractor", "generator", "dataset", "epsilon", "delta", "clip", "seed",
    "status", "epsilon_spent", "metrics", "protocol",
}  # fmt: skip


def board(results: list[Result]) -> Leaderboard:
    return Leaderboard(tuple(results))


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Split Markdown into tables of cells; a table is a run of lines that start with a bar."""
    runs = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in run.splitlines()]
        for run in runs
    ]


def test_a_board_prints_how_much_it_holds() -> None:
    assert repr(board(grid(seeds=1))) == "Leaderboard(54 trials, 8 controls, 1 section)"


def test_json_is_the_results_themselves() -> None:
    results = grid(seeds=1)
    records = json.loads(render(board(results), "json"))
    added = [{name: record.pop(name) for name in ADDED} for record in records]
    assert [Result.model_validate(record) for record in records] == results
    assert {one["epsilon_with_selection"] for one in added} == {None, "inf"}
    assert all(set(record) >= FIELDS for record in records)
    infinite = [r for r in records if r["epsilon"] == "inf"]
    assert len(infinite) == 18
    assert infinite[0]["metrics"]["fid"] > 0 and infinite[0]["protocol"]["name"] == "default"


def test_csv_has_one_flat_line_per_trial_and_control() -> None:
    results = grid(seeds=2)
    rows = list(csv.DictReader(io.StringIO(render(board(results), "csv"))))
    assert len(rows) == len(results)
    assert {"metrics.fid", "metrics.is", "protocol.name", "protocol.weights_sha256"} <= set(rows[0])
    assert set(rows[0]) >= FIELDS - {"metrics", "protocol"}
    names = {row["method"] for row in rows if row["method"].startswith("control:")}
    wanted = {"real", "reconstruction", "public-images", "public-prior"}
    assert names == {f"control:{name}" for name in wanted}
    for row, result in zip(rows, results, strict=True):
        assert float(row["metrics.fid"]) == result.metrics["fid"]
        assert row["epsilon"] == ("" if result.epsilon is None else str(result.epsilon))


def test_markdown_has_a_row_per_method_with_rank_score_and_share_of_public() -> None:
    scores, shown_controls, chosen, *_ = markdown_tables(render(board(grid()), "markdown"))
    assert scores[0][0] == "method"
    assert "ε = 10<br>FID (domain)" in scores[0] and "ε = ∞<br>IS (domain)" in scores[0]
    assert len(scores) == 2 + 6
    assert all(len(row) == len(scores[0]) for row in scores)
    row = dict(zip(scores[0], scores[2], strict=True))
    fid = re.fullmatch(r"\**([\d.]+) ± [\d.]+\**", row["ε = ∞<br>FID (domain)"])
    assert fid is not None
    assert float(row["ε = ∞<br>/ public"]) == pytest.approx(float(fid[1]) / 710.4, abs=0.006)
    assert [row[0] for row in shown_controls[2:]].count("reconstruction") == 3
    assert len(chosen) == 2 + 18


def test_latex_is_balanced_and_escaped() -> None:
    text = render(board([*controls(), trial("a_b-GAN")]), "latex")
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    assert r"a\_b-GAN" in text and r"$\varepsilon$ = 10" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for body in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL):
        rows = [line for line in body.split("\n") if line.endswith(r"\\")]
        assert len({row.count("&") - row.count(r"\&") for row in rows}) == 1
    assert text.isascii()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("by", ["method", "clip"])
def test_the_terminal_table_keeps_to_its_width(width: int, by: By) -> None:
    text = terminal(make_report(board(grid()), by), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for method in ("ae-enc-GAN", "wgan-VAE"):
        assert method in text


def test_three_targets_fit_beside_each_other_in_120_columns() -> None:
    heads = [line for line in render(board(grid()), "table").splitlines() if "ε = ∞" in line]
    assert heads[0].split() == ["ε", "=", "∞", "ε", "=", "10", "ε", "=", "1"]


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_protocols_never_meet_in_one_table(style: str) -> None:
    text = render(board([trial("ae-enc-GAN"), trial("wgan-VAE", protocol=INCEPTION)]), style)
    text = " ".join(text.split())
    domain, inception = text.index("domain classifier"), text.index("2015 TensorFlow Inception")
    assert inception < text.index("wgan-VAE") < domain < text.index("ae-enc-GAN")
    assert text.rindex("wgan-VAE") < domain
    assert "weights 3fa2c19b" in text and "weights 6726825d" in text
    assert "FID (domain)" in text[domain:] and "FID (domain)" not in text[:domain]


def test_the_sweep_has_a_row_for_every_clip() -> None:
    over = trial(
        "wgan-VAE", clip=2.0, fid=1.0, seed=3, extractor="gradient", generator="vae",
        status="over-budget", reason="spent 12",
    )  # fmt: skip
    sweep = markdown_tables(render(board([*controls(), *grid(), over]), "markdown", "clip"))[0]
    assert len(sweep) == 2 + 6 * 3 * 3
    rows = [row for row in sweep if row[:3] == ["ε = 10", "wgan-VAE", "2"]]
    assert rows[0][-1] == "ok, over-budget"
    bold = [row for row in sweep if row[4].startswith("**")]
    assert len(bold) == 6 * 3


def test_what_is_not_ranked_is_listed_with_its_reason() -> None:
    results = [
        *grid(seeds=1),
        trial("x-GAN", status="over-budget", reason="spent epsilon 12 of 10", epsilon_spent=12.0),
        trial("y-GAN", fid=None, status="diverged", reason="reached NaN", seed=0),
        trial("y-GAN", fid=None, status="diverged", reason="reached NaN", seed=1),
    ]
    text = render(board(results), "markdown")
    assert "- x-GAN; ε = 10; clip 1; seed 0: over-budget: spent epsilon 12 of 10" in text
    assert "- y-GAN; ε = 10; clip 1; seeds 0, 1: diverged: reached NaN" in text
    scores = {row[0]: row for row in markdown_tables(text)[0]}
    assert "over-budget" in scores["x-GAN"] and "diverged" in scores["y-GAN"]


def test_a_figure_that_could_not_be_computed_leaves_its_reason() -> None:
    missing = trial("z-GAN", fid=None, unavailable={"fid": "features are not finite"})
    text = render(board([*grid(seeds=1), missing]), "table")
    assert "z-GAN; ε = 10; clip 1; seed 0: no FID: features are not finite" in text
    assert "fid: not available for 1 row: features are not finite" in text


def test_a_frame_has_a_row_for_each_trial_and_a_column_for_each_figure() -> None:
    frame = board([*grid(seeds=1), *controls(), trial("x-GAN", fid=None, epsilon=math.inf)]).frame
    read = csv.DictReader(io.StringIO(render(board([*grid(seeds=1), *controls()]), "csv")))
    assert set(read.fieldnames or ()) <= set(frame.columns)
    assert len(frame) == len(grid(seeds=1)) + len(controls()) + 1
    best = frame[frame.epsilon == 10].groupby("method")["metrics.fid"].min()
    assert best["ae-enc-GAN"] > 0
    (last,) = frame[frame.method == "x-GAN"].to_dict("records")
    assert last["epsilon"] == math.inf and math.isnan(last["metrics.fid"])


def test_a_collapsed_method_is_marked() -> None:
    collapsed = trial("x-GAN", fid=1.0, status="collapsed", reason="a class is missing")
    text = render(board([*grid(seeds=1), collapsed]), "markdown")
    scores = {row[0]: row for row in markdown_tables(text)[0]}
    assert "7†" in scores["x-GAN"] and "† collapsed" in text


def test_one_seed_says_so_and_several_show_their_spread() -> None:
    assert "n = 1: one seed a trial" in render(board(grid(seeds=1)), "table")
    several = render(board(grid(seeds=3)), "table")
    assert "Mean ± standard deviation over 3 seeds" in several and "n = 1" not in several
    fewer = render(board([*grid(seeds=3), trial("x-GAN", fid=7.0)]), "table")
    assert "7.0 (n = 1)" in fewer


def test_privacy_columns() -> None:
    declared = privacy(2.0, 9.91, trust="self-declared")
    found = audit(2.31)
    results = [
        trial("a-GAN", clip=0.5, fid=90.0, epsilon_spent=9.91, privacy=declared, audit=found),
        trial("a-GAN", clip=1.0, fid=95.0),
        trial("b-GAN", fid=99.0),
        trial("b-GAN", epsilon=math.inf),
    ]
    text = render(board(results), "markdown")
    table = next(t for t in markdown_tables(text) if "ε with selection" in t[0])
    rows = {(row[0], row[1]): dict(zip(table[0], row, strict=True)) for row in table[2:]}
    a = rows["ε = 10", "a-GAN"]
    assert (a["clip"], a["tried"]) == ("0.5", "2")
    four = [a[name] for name in ("ε claimed", "ε spent", "ε with selection", "ε audited")]
    assert (four, a["trust"]) == (["10", "9.91", "∞", "≥ 2.31"], "self-declared")
    assert rows["ε = 10", "b-GAN"]["ε with selection"] == "9.95"  # nothing to choose from
    assert rows["ε = ∞", "b-GAN"]["ε spent"] == "∞"
    assert "∞ where the best of several trials was chosen by private scores" in text


def test_a_rule_stated_before_costs_nothing_and_a_noisy_one_what_it_paid() -> None:
    def four(choice: Choice) -> list[str]:
        first = trial(fid=95.0, clip=0.5, epsilon_spent=9.5)
        second = trial(fid=50.0)
        if choice.rule == "noisy":
            counted = (first.identity_key, second.identity_key)
            choice = choice.model_copy(update={"among": counted})
        first = first.model_copy(update={"choice": choice})
        table = markdown_tables(render(board([first, second]), "markdown"))[1]
        row = dict(zip(table[0], table[2], strict=True))
        return [row["clip"], row["ε spent"], row["ε with selection"]]

    assert four(Choice(rule="first", chosen=True)) == ["0.5", "9.5", "9.5"]
    assert four(Choice(rule="noisy", chosen=True, epsilon=11.0)) == ["0.5", "9.5", "11"]
    assert four(Choice()) == ["1", "9.95", "∞"]


def test_trust_says_what_was_replayed() -> None:
    def trust(verdict: Literal["passed", "failed", "not-replayed"], **ledger: Any) -> str:
        replay = ReplayVerdict(verdict=verdict, reason="the state tells neighbours apart")
        stated = privacy(2.0, 9.9, **ledger).model_copy(update={"replay": replay})
        return render(board([trial(privacy=stated), trial("b-GAN")]), "markdown")

    assert "| replayed" in trust("passed")
    assert "| replayed" not in trust("passed", trust="self-declared")
    unknown = trust("not-replayed")
    assert "| ledger (not replayed)" in unknown
    assert "| replayed" not in unknown
    assert "ae-enc-GAN: not replayed: the state tells neighbours apart" in unknown
    assert "| self-declared (not replayed)" in trust("not-replayed", trust="self-declared")
    assert "replay failed: the state tells neighbours apart" in trust("failed")


def test_what_cannot_be_read_is_named_in_every_format_with_room_for_it() -> None:
    left = Leaderboard((trial(),), set_aside=(SetAside("results/a.json", "not JSON"),))
    for style in ("table", "markdown"):
        assert "results/a.json: not JSON" in render(left, style)


def test_keys_of_what_read_private_images_are_not_published_of_a_release() -> None:
    keys = {"public": "p1", "latents": "l2", "features": "f3", "score.fid": "s4"}
    for secure, kept in ((False, keys), (True, {"public": "p1"})):
        result = trial(secure=secure, artifacts=keys)
        (record,) = json.loads(render(board([result]), "json"))
        assert record["artifacts"] == kept
        assert ("l2" in render(board([result]), "csv")) is not secure


def test_numbers_read_as_people_write_them() -> None:
    assert [significant(x) for x in (351.23, 99.27, 1.0, 0.9951, math.inf)] == [
        "351", "99.3", "1", "0.995", "∞",
    ]  # fmt: skip
    assert [number(x) for x in (710.44, 2.1, 0.123, 0.0)] == ["710.4", "2.1", "0.12", "0.0"]
    assert [delta_text(x) for x in (1e-6, 1e-10, 0.001)] == ["1e-6", "1e-10", "0.001"]


def test_heads_say_what_stands_beneath() -> None:
    *_, chosen, further, of_controls = markdown_tables(render(board(grid(seeds=1)), "markdown"))
    assert chosen[0][2] == "clip"
    assert {row[0] for row in further[2:]} == {"ε = ∞", "ε = 10", "ε = 1"}
    assert of_controls[0][:2] == ["control", "through"]
    assert ["reconstruction", "ae-encoder"] in [row[:2] for row in of_controls]
    swept = [trial(axes={"generators.gan.hidden": 8})]
    bys: tuple[By, ...] = ("method", "clip", "seed", "hidden")
    for by in bys:
        heads = [h for t in markdown_tables(render(board(swept), "markdown", by)) for h in t[0]]
        assert "setting" in heads and "clip" not in heads


def test_values_of_an_axis_stand_in_order_of_size() -> None:
    axis = "generators.gan.hidden"
    rows = [trial(fid=50.0 + v, axes={axis: v}) for v in (2, 10, 1)]
    rows += [trial("b-GAN", axes={axis: v}) for v in ("tanh", "relu", 3)]
    (table,) = markdown_tables(render(board(rows), "markdown", "hidden"))
    values = [row[2] for row in table if row[0] == "ε = 10"]
    assert values == ["1", "2", "10", "3", "relu", "tanh"]
    sweep = markdown_tables(render(board(rows), "markdown", "clip"))[0]
    assert [row[2].rpartition(" ")[2] for row in sweep if row[0] == "ε = 10"] == values
