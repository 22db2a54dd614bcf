import math

import numpy as np
import pytest
from scipy import stats

from dpbench.metrics.uncertainty import Interval, rank, standings, summarise


def test_interval_is_the_t_interval_of_scipy() -> None:
    values = [3.0, 5.0, 4.0]
    low, high = stats.t.interval(0.95, 2, loc=4.0, scale=np.std(values, ddof=1) / 3**0.5)
    got = summarise(values)
    assert got is not None
    assert (got.mean, got.count, got.std) == (4.0, 3, pytest.approx(1.0))
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_spread() -> None:
    assert summarise([7.25]) == Interval(7.25, 1)


def test_failed_seeds_are_left_out() -> None:
    assert summarise([1.0, math.nan]) == Interval(1.0, 1)
    assert summarise([math.nan]) is None


def test_methods_that_seeds_cannot_tell_apart_share_a_rank() -> None:
    scores = {
        "far": {0: 30.0, 1: 31.0, 2: 29.0},
        "a": {0: 10.0, 1: 12.0, 2: 11.0},
        "b": {0: 11.0, 1: 11.0, 2: 10.5},
    }
    assert rank(scores, "lower") == {"b": "1=", "a": "1=", "far": "3"}
    assert rank(scores, "higher") == {"far": "1", "a": "2=", "b": "2="}


def test_pairing_over_seeds_sees_what_overlapping_intervals_hide() -> None:
    scores = {"a": {0: 10.0, 1: 20.0, 2: 30.0}, "b": {0: 11.0, 1: 22.3, 2: 32.8}}
    assert rank(scores, "lower") == {"a": "1", "b": "2"}


def test_one_seed_gives_an_order_that_admits_it_was_not_tested() -> None:
    assert rank({"a": {0: 2.0}, "b": {0: 1.0}}, "lower") == {"b": "1?", "a": "2?"}


def test_a_method_of_one_seed_leaves_the_others_their_ranks() -> None:
    scores = {"a": {0: 10.0, 1: 20.0}, "b": {0: 11.0, 1: 22.1}, "once": {0: 15.5}}
    assert rank(scores, "lower") == {"a": "1", "b": "2", "once": "2?"}


def test_a_method_without_figures_has_no_rank() -> None:
    assert rank({"a": {0: 2.0}, "b": {0: math.nan}}, "lower") == {"a": "1"}


def boards(
    count: int, means: list[float], spreads: list[float], rng: np.random.Generator
) -> list[dict[str, dict[int, float]]]:
    """Make boards of five seeds whose log figures have known means, and share their seeds' part."""
    made = []
    for _ in range(count):
        noise = rng.standard_normal((len(means), 5)) * np.array(spreads)[:, None]
        logs = np.array(means)[:, None] + noise + rng.standard_normal(5)
        made.append(
            {str(m): {s: float(np.exp(x)) for s, x in enumerate(row)} for m, row in enumerate(logs)}
        )
    return made


EQUAL, TWO = [0.0] * 6, [0.0] * 3 + [9.0] * 3
SAME, UNLIKE = [1.0] * 6, list(np.geomspace(0.5, 2.0, 6))


def test_at_most_one_board_in_twenty_orders_what_is_equal() -> None:
    rng = np.random.default_rng(5)
    false = 0
    for means in (EQUAL, TWO):
        for spreads in (SAME, UNLIKE):
            for board in boards(250, means, spreads, rng):
                found = standings(board, "lower")
                groups = [[n for n in found if means[int(n)] == mean] for mean in set(means)]
                false += any(
                    found[name].low - 1 > sum(means[int(o)] < means[int(name)] for o in found)
                    for group in groups
                    for name in group
                )
    assert false <= 50  # of 1,000


def test_methods_two_standard_deviations_apart_are_told_apart() -> None:
    rng = np.random.default_rng(6)
    gap = 2 * math.sqrt(2)  # of a paired difference, whose variance is twice a method's
    told = [
        standings(board, "lower")[str(place)].low == place + 1
        for board in boards(250, [place * gap for place in range(6)], SAME, rng)
        for place in range(6)
    ]
    assert np.mean(told) >= 0.8


def test_a_standing_is_a_range_of_ranks() -> None:
    board = {
        "a": {0: 10.0, 1: 10.2, 2: 9.9, 3: 10.1},
        "b": {0: 10.1, 1: 10.1, 2: 10.0, 3: 9.9},
        "c": {0: 20.0, 1: 20.1, 2: 19.9, 3: 20.2},
    }
    found = {name: (s.low, s.high) for name, s in standings(board, "lower").items()}
    assert found == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_two_methods_are_compared_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    agree = set()
    for _ in range(200):
        a, b = rng.normal(10, 0.3, 5), rng.normal(10.3, 0.3, 5)
        found = standings({"a": dict(enumerate(a)), "b": dict(enumerate(b))}, "lower")
        p = stats.ttest_rel(np.log(a), np.log(b)).pvalue
        agree.add((found["a"].high - found["a"].low == 0) == (p <= 0.05))
    assert agree == {True}
