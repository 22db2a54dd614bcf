"""``dpbench statement``: what a trial's guarantee is."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]


def test_a_statement_for_every_trial_that_matches(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--clip", 1, "--clip", 2)
    both = dpbench("statement", "linear-look-*")
    assert both.exit_code == 0, both.output
    assert both.output.count("## Guarantee") == 2
    one = dpbench("statement", "linear-look-MEAN", "--clip", 2).output
    assert one.count("## Guarantee") == 1
    for words in ("clip 2", "zero-out", "dp-accounting", "a benchmark"):
        assert words in one
    assert "among 2 trials" in one
    assert "no finite epsilon" in one


def test_a_trial_under_two_protocols_is_one_trial(dpbench: Run) -> None:
    more = '[protocols.other]\nsamples = 32\nmetrics = ["fid"]\n'
    protocols = ("--protocol", "tiny", "--protocol", "other")
    assert dpbench("run", "--no-controls", *protocols, extra=more).exit_code == 0
    text = dpbench("statement", "linear-look-MEAN").output
    assert text.count("## Guarantee") == 1
    assert "nothing was chosen" in text


def test_a_statement_in_json_has_every_field_and_the_ledger(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    (made,) = json.loads(dpbench("statement", "*MEAN", "--grid", "all", "--format", "json").stdout)
    for field in (
        "flavour", "unit", "adjacency", "epsilon", "delta", "data_domain", "unprotected",
        "composition", "post_processing", "implementation", "rationale",
    ):  # fmt: skip
        assert made[field], field
    assert made["ledger"]["mechanisms"]
    assert any("pictures" in line for line in made["unprotected"])
    assert dpbench("statement", "*MEAN", "--grid", "smoke").exit_code == 2


def test_methods_can_be_named_by_option(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--method", "mean")
    for arguments in ([], ["--method", "mean"], ["linear-*"]):
        assert dpbench("statement", *arguments).output.count("## Guarantee") == 1
    result = dpbench("statement", "--method", "nothing", "linear-*")
    assert result.exit_code == 2 and "unknown method 'nothing'" in result.output


def test_nothing_that_matches_is_said(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    result = dpbench("statement", "linear-look-MEAN", "--clip", 7)
    assert result.exit_code == 2
    assert "no finished trial matches" in result.output


def test_one_trial_under_two_protocols_was_chosen_among_nothing(dpbench: Run) -> None:
    extra = '[protocols.other]\nsamples = 32\nmetrics = ["fid"]\n'
    dpbench("run", "--no-controls", "--protocol", "tiny", "--protocol", "other", extra=extra)
    statement = dpbench("statement", "linear-look-MEAN").output
    assert statement.count("## Guarantee") == 1 and "hosen among" not in statement
