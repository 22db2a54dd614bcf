import math

import numpy as np
import pytest
from scipy import stats

from dpbench.metrics.uncertainty import Interval, rank, summarise


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
    scores = {"a": {0: 10.0, 1: 20.0, 2: 30.0}, "b": {0: 11.0, 1: 21.1, 2: 30.9}}
    assert rank(scores, "lower") == {"a": "1", "b": "2"}


def test_one_seed_gives_an_order_that_admits_it_was_not_tested() -> None:
    assert rank({"a": {0: 2.0}, "b": {0: 1.0}}, "lower") == {"b": "1?", "a": "2?"}


def test_a_method_without_figures_has_no_rank() -> None:
    assert rank({"a": {0: 2.0}, "b": {0: math.nan}}, "lower") == {"a": "1"}
