"""``dpbench statement``: what a trial's guarantee is."""

from __future__ import annotations

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
    for words in ("clip 2", "adding or removing one image", "dp-accounting", "a benchmark"):
        assert words in one
    assert "Chosen among 2 trials" in one


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
