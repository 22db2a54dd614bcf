"""The page in a browser: silent, asks for nothing, sorts, filters, and serves everybody.

Chromium is taken where it is found. axe-core is too: ``npm install axe-core``, and its
``axe.min.js`` named by ``DPBENCH_AXE``, or in ``node_modules`` here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpbench.leaderboard import Leaderboard
from dpbench.leaderboard.html import make_page
from dpbench.leaderboard.report import make_report
from dpbench.leaderboard.tables import Column, Table
from dpbench.results import Result, Run
from leaderboard.chromium import Chromium, find_chromium
from leaderboard.fabricate import INCEPTION, audit, grid, trial

PROGRAM = find_chromium()
AXE = Path(os.environ.get("DPBENCH_AXE", "node_modules/axe-core/axe.min.js"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine"),
]
RUN = Run(
    command="dpbench run",
    versions={"dpbench": "1"},
    wall_seconds=3.0,
    finished="2026-01-02T03:04:05",
)
FIRST = "document.querySelector('section.part')"
NAMES = "[...{}.querySelectorAll('table.{} tbody tr')].map(row => row.dataset.m)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM) as chromium:
        yield chromium


def write(path: Path, results: list[Result]) -> Path:
    report = make_report(Leaderboard(tuple(results), history=(RUN,)))
    submitted = Table("submitted", "Submissions", [Column("package", left=True)], [["dpbench-x"]])
    page = make_page(replace(report, submitted=submitted))
    path.write_text(page.text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [*grid(seeds=3), *grid(seeds=1, dataset="fashion-mnist", protocol=INCEPTION)]
    rows += [trial("x-GAN", fid=None, status="failed", reason="boom"), trial(audit=audit(1.0))]
    return write(tmp_path_factory.mktemp("page") / "index.html", rows)


def names(browser: Chromium, table: str, part: str = FIRST) -> list[str]:
    found: list[str] = browser.run(NAMES.format(part, table))
    return found


def choose(browser: Chromium, name: str, value: str) -> None:
    control = f"{FIRST}.querySelector('form').elements.{name}"
    browser.run(f"{control}.value = '{value}'")
    browser.run(f"{control}.dispatchEvent(new Event('input', {{bubbles: true}})) && 0")


def visible(browser: Chromium, selector: str) -> int:
    found = f"[...{FIRST}.querySelectorAll('{selector}')].filter(e => e.checkVisibility()).length"
    count: int = browser.run(found)
    return count


def test_it_is_silent_and_asks_for_nothing(browser: Chromium, page: Path) -> None:
    browser.requests.clear()
    browser.open(page)
    assert browser.requests == [page.resolve().as_uri()]
    choose(browser, "filter", "grad")
    assert browser.messages == []


def test_a_heading_sorts_and_says_so(browser: Chromium, page: Path) -> None:
    browser.open(page)
    head = f"[...{FIRST}.querySelectorAll('table.overview thead tr:last-child th')]"
    orders = []
    for _ in range(2):
        browser.run(f"{head}.find(h => h.textContent === 'FID').querySelector('button').click()")
        sorts = browser.run(f"{head}.map(h => h.getAttribute('aria-sort')).filter(Boolean)")
        rows = f"[...{FIRST}.querySelectorAll('table.overview tbody tr')]"
        figures = browser.run(f"{rows}.map(row => row.cells[2].dataset.v)")
        orders.append((sorts, [float(f) for f in figures if f]))
        assert names(browser, "overview")[-1] == "x-GAN"  # what has no figure stands last
    (up, rising), (down, falling) = orders
    assert (up, down) == (["ascending"], ["descending"])
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)


def test_words_filter_methods_and_settings(browser: Chromium, page: Path) -> None:
    browser.open(page)
    whole = len(names(browser, "settings"))
    choose(browser, "filter", "enc vae")
    assert set(names(browser, "settings")) == set(names(browser, "overview")) == {"ae-enc-VAE"}
    said = browser.run(f"{FIRST}.querySelector('.said').textContent")
    assert said == f"9 of {whole} settings"
    choose(browser, "filter", "")
    assert len(names(browser, "settings")) == whole


def test_metric_and_epsilon_are_chosen(browser: Chromium, page: Path) -> None:
    browser.open(page)
    assert visible(browser, "table.overview") == 1 and visible(browser, "table.metric") == 0
    choose(browser, "metric", "is")
    assert visible(browser, "table.overview") == 0
    assert visible(browser, 'table.metric[data-key="is"]') == 1
    assert visible(browser, '.lead .chart[data-key="is"]') == 1
    assert visible(browser, '.lead .chart[data-key="fid"]') == 0
    choose(browser, "epsilon", "1")
    assert visible(browser, 'table.metric[data-key="is"] thead th') == 2
    rows = browser.run(
        f"[...{FIRST}.querySelectorAll('table.settings tbody tr')].map(r => r.dataset.rowE)"
    )
    assert set(rows) == {"1"}


def test_a_point_leads_to_its_row_even_through_a_filter(browser: Chromium, page: Path) -> None:
    browser.open(page)
    choose(browser, "filter", "wgan-VAE")
    point = f"{FIRST}.querySelector('.plot g[data-m=\"ae-enc-GAN\"] a')"
    browser.run(f"{point}.dispatchEvent(new MouseEvent('click', {{bubbles: true}})) && 0")
    row = browser.run(f"{point}.getAttribute('href')")
    assert browser.run(f"document.querySelector('{row}').dataset.m") == "ae-enc-GAN"


def test_without_javascript_it_is_all_there(browser: Chromium, page: Path) -> None:
    browser.look(1280, 900)
    browser.open(page, script=False)
    assert visible(browser, "table.overview") == 1 and visible(browser, ".tools") == 0
    assert len(names(browser, "settings")) > 50 and visible(browser, ".plot") >= 3


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_window(browser: Chromium, page: Path, width: int) -> None:
    browser.look(width, 844)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_on_paper_nothing_is_folded_or_cut(browser: Chromium, page: Path) -> None:
    paper = 794  # A4 at 96 dots an inch
    browser.look(paper, 1123)
    browser.open(page)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert visible(browser, "table.metric") >= 3 and visible(browser, ".tools") == 0
        widths = browser.run("[...document.querySelectorAll('table')].map(t => t.scrollWidth)")
        assert max(widths) <= paper
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: npm install axe-core")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_serves_everybody(browser: Chromium, page: Path, dark: bool, width: int) -> None:
    browser.look(width, 900, dark)
    browser.open(page)
    browser.run(AXE.read_text(encoding="utf-8") + "; 0")
    violations = browser.run("axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
    assert violations == []


def test_ten_thousand_rows_filter_in_a_tenth_of_a_second(browser: Chromium, tmp_path: Path) -> None:
    rows = [
        trial(f"m{method:02}-GAN", clip=1.0 + clip, fid=float(clip + method))
        for method in range(20)
        for clip in range(500)
    ]
    browser.look(1280, 900)
    browser.open(write(tmp_path / "large.html", rows))
    browser.call("Performance.enable", timeDomain="threadTicks")
    took = []
    for words in ("m0", "m07", "m07 clip", "m", ""):
        before = processor_ms(browser)
        choose(browser, "filter", words)
        browser.run(f"{FIRST}.getBoundingClientRect() && 0")
        took.append(processor_ms(browser) - before)
    browser.call("Performance.disable")
    print("ms:", *map(round, took))
    assert max(took) < 100, took


def processor_ms(browser: Chromium) -> float:
    """Return for how long the page has kept a core busy: waiting for one is no fault of it."""
    metrics = browser.call("Performance.getMetrics")["metrics"]
    return 1000 * next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")
