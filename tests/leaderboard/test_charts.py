"""Plots: what is drawn, what is not, and that no two methods look alike."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import dpbench.leaderboard
from dpbench.leaderboard.charts.axis import Axis, around
from dpbench.leaderboard.charts.epsilons import four_epsilons
from dpbench.leaderboard.charts.heat import best_clips
from dpbench.leaderboard.charts.over_epsilon import over_epsilon
from dpbench.leaderboard.charts.scatter import cost_and_quality, fidelity_and_diversity
from dpbench.leaderboard.charts.shares import variance_shares
from dpbench.leaderboard.charts.style import method_styles
from dpbench.leaderboard.sections import Section, make_sections
from dpbench.results import Result
from leaderboard.fabricate import audit, controls, grid, trial

TEMPLATES = Path(dpbench.leaderboard.__file__).parent / "templates"


def section(results: list[Result]) -> Section:
    (found,) = make_sections(results)
    return found


def drawn(svg: str | None) -> ElementTree.Element:
    assert svg is not None
    return ElementTree.fromstring(svg)


def texts(svg: str | None) -> list[str]:
    return [node.text or "" for node in drawn(svg).iter("text")]


def names(svg: str | None) -> set[str]:
    return {node.get("data-m", "") for node in drawn(svg).iter("g")} - {""}


def test_a_line_a_method_with_intervals_and_a_link_for_every_point() -> None:
    root = drawn(over_epsilon(section(grid(seeds=3)), "fid"))
    links = [node.get("href", "") for node in root.iter("a")]
    assert len(links) == len(set(links)) == 6 * 3
    bars = [node for node in root.iter("path") if node.get("class") == "bar"]
    assert len(bars) == 6 * 3
    titles = [node.text or "" for node in root.iter("title")]
    assert any(re.match(r"ae-enc-GAN at ε = 10: FID \(domain\) [\d.]+ \(", t) for t in titles)
    assert {"1", "10", "∞", "public images"} <= set(texts(over_epsilon(section(grid()), "fid")))


def test_with_one_epsilon_there_is_no_axis_of_it() -> None:
    one = [r for r in grid(seeds=3) if r.is_control or r.epsilon == 10.0]
    shown = texts(over_epsilon(section(one), "fid"))
    assert "ε = 10" in shown and not any("ε (log scale" in text for text in shown)
    assert shown.count("ae-enc-GAN") == 1


def test_a_method_that_failed_is_in_no_legend() -> None:
    failed = trial("x-GAN", fid=None, status="failed", reason="boom")
    found = section([*grid(seeds=1), failed])
    for svg in (over_epsilon(found, "fid"), best_clips(found)):
        assert "x-GAN" not in names(svg) and "x-GAN" not in texts(svg)


@pytest.mark.parametrize("generators", [1, 4, 13])
def test_no_two_methods_look_alike(generators: int) -> None:
    found = section(grid(seeds=1, generators=tuple(f"G{n:02}" for n in range(generators))))
    styles = method_styles(found)
    assert len(styles) == len(set(styles.values())) == 3 * generators


def test_methods_of_one_generator_share_a_colour() -> None:
    styles = method_styles(section(grid(seeds=1)))
    assert styles["ae-enc-GAN"].colour == styles["wgan-GAN"].colour
    assert styles["ae-enc-GAN"].shape != styles["wgan-GAN"].shape


def test_every_clip_is_a_field_and_the_best_one_is_framed() -> None:
    root = drawn(best_clips(section(grid(seeds=1))))
    fields = [node.get("class", "") for node in root.iter("rect")]
    assert len(fields) == 6 * 3 * 3
    assert sum("best" in field for field in fields) == 6 * 3
    assert best_clips(section([trial(), trial("b-GAN")])) is None


Colour = tuple[float, ...]


def luminance(colour: Colour) -> float:
    """As WCAG 2 defines it."""
    shares = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
              for c in (value / 255 for value in colour)]  # fmt: skip
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), shares, strict=True))


def themes() -> list[dict[str, Colour]]:
    """Return the page's colours by name, in light and in dark."""
    css = (TEMPLATES / "page.css").read_text()

    def colour(said: str) -> Colour:
        if "," in said:
            return tuple(map(float, said.split(",")))
        digits = said.removeprefix("#")
        pairs = [d * 2 for d in digits] if len(digits) == 3 else re.findall("..", digits)
        return tuple(int(pair, 16) for pair in pairs)

    roots = re.findall(r":root\{(--bg:[^}]*--heat[^}]*)\}", css)
    return [
        {name: colour(value) for name, value in re.findall(r"--([\w-]+):([#\w,]+)", root)}
        for root in roots
    ]


def test_figures_on_every_shade_can_be_read_in_light_and_in_dark() -> None:
    shades = re.findall(r"\.h\d\{fill-opacity:([.\d]+)\}", (TEMPLATES / "plot.css").read_text())
    light_and_dark = themes()
    assert len(shades) == 6 and len(light_and_dark) == 2
    for theme in light_and_dark:
        for shade in map(float, shades):
            both = zip(theme["heat"], theme["bg"], strict=True)
            ground = luminance(tuple(shade * a + (1 - shade) * b for a, b in both))
            bright, dim = sorted((ground, luminance(theme["fg"])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5  # AA for text of this size


def test_four_epsilons_stand_side_by_side_and_infinity_has_a_place() -> None:
    rows = [trial(clip=0.5, audit=audit(2.0)), trial(clip=1.0), trial("b-GAN", epsilon=math.inf)]
    root = drawn(four_epsilons(section(rows)))
    titles = {node.text for node in root.iter("title")}
    assert {"ae-enc-GAN: ε claimed 10", "ae-enc-GAN: ε accounted 9.95",
            "ae-enc-GAN: ε with selection ∞", "ae-enc-GAN: ε audited, at least 2",
            } <= titles  # fmt: skip
    assert four_epsilons(section([trial("b-GAN", epsilon=math.inf)])) is None


def test_of_many_targets_the_most_private_are_drawn_and_the_rest_is_told() -> None:
    rows = [trial(epsilon=e) for e in (0.5, 1.0, 2.0, 5.0, 10.0)]
    shown = texts(four_epsilons(section(rows)))
    assert [text for text in shown if text.startswith("ε = ")] == [
        "ε = 5", "ε = 2", "ε = 1", "ε = 0.5",
    ]  # fmt: skip
    assert "ε, log scale; the last 4 of 5 targets" in shown
    assert "ε, log scale" in texts(four_epsilons(section(rows[:4])))


def test_scatters_are_drawn_where_both_figures_are_known() -> None:
    assert fidelity_and_diversity(section(grid(seeds=1))) is None
    assert cost_and_quality(section(grid(seeds=1))) is None
    both = {"fid": 9.0, "precision": 0.7, "recall": 0.6}
    rows = [trial(metrics=both, seconds={"generator": 3.0}), *controls()]
    assert "ae-enc-GAN at ε = 10: recall 0.6, precision 0.7" in str(
        fidelity_and_diversity(section(rows))
    )
    assert "training 3 s, FID (domain) 9" in str(cost_and_quality(section(rows)))


def test_factors_stand_as_bars_with_their_share() -> None:
    said = texts(variance_shares(section(grid())))
    shares = [float(text.rstrip("%")) for text in said if text.endswith("%")]
    assert {"epsilon", "generator", "interactions and noise"} <= set(said)
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert variance_shares(section([trial()])) is None


def test_what_lies_outside_an_axis_stands_at_its_edge() -> None:
    axis = Axis(1.0, 100.0, log=True, infinity=True, zero=True)
    places = [axis.at(value) for value in (0.0, 0.1, 1.0, 10.0, 100.0, 1e6, math.inf)]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 1
    assert places[1] == places[2] and places[4] == places[5] < places[6]


@pytest.mark.parametrize(("low", "high", "log"), [(0.31, 0.34, False), (4.5, 123.0, True),
                                                  (9.0, 9.6, True), (1e-4, 7e5, True)])  # fmt: skip
def test_ticks_are_few_round_and_within(low: float, high: float, log: bool) -> None:
    ticks = around([low, high], log).ticks
    assert 2 <= len(ticks) <= 12
    assert all(0 <= place <= 1 for place, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)
