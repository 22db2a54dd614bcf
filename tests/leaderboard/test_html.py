"""The page: a document that stands alone, reads without a script, and says what the board says."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dpbench.leaderboard import Leaderboard, load, render
from dpbench.leaderboard.html import make_page
from dpbench.leaderboard.report import make_report
from dpbench.results import Result, SetAside
from dpbench.store import Store
from leaderboard.artifacts import with_artifacts
from leaderboard.fabricate import INCEPTION, audit, controls, grid, trial

VOID = {"meta", "link", "img", "input", "br"}
Save = Callable[[Iterable[Result]], Path]


class Document(HTMLParser):
    """Elements with their attributes and text; complains of tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        named = [found for name, found in self.found if name == tag]
        return [one for one in named if all(one.get(k) == v for k, v in attributes.items())]


def page(results: list[Result]) -> Document:
    return Document(text_of(results))


def text_of(results: list[Result]) -> str:
    return make_page(make_report(Leaderboard(tuple(results)))).text


def cells(text: str, key: str) -> list[list[str]]:
    """Return the rows of the first table of a key, as text."""
    table = re.search(rf'<table class="[^"]*" data-key="{key}">.*?</table>', text, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table[0], re.DOTALL)
    found = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[" ".join(re.sub(r"<.*?>", " ", c).split()) for c in row] for row in found]


def test_a_table_has_a_caption_headings_with_scope_and_a_row_a_method() -> None:
    text = text_of(grid())
    rows = cells(text, "overview")
    assert rows[0][1:] == ["ε = ∞", "ε = 10", "ε = 1"]
    assert rows[1][:4] == ["method", "#", "FID", "IS"]
    assert len(rows) == 2 + 6
    document = Document(text)
    assert len(document.all("caption")) == len(document.all("table"))
    assert all(head.get("scope") for head in document.all("th"))


def test_controls_are_on_the_page_whatever_its_rows_are_by() -> None:
    board = Leaderboard(tuple(grid(seeds=1)))
    for by in ("method", "clip", "seed"):
        text = render(board, "html", by)
        (table,) = re.findall(r"<span>Controls</span>.*?</table>", text, re.DOTALL)
        assert "real" in table and "reconstruction" in table
    assert "<span>Controls</span>" not in text_of([trial()])


def test_rows_stand_in_order_of_rank_and_the_best_is_marked() -> None:
    rows = [trial("b-GAN", fid=50.0), trial("a-GAN", fid=90.0), trial("c-GAN", fid=20.0)]
    assert [row[:3] for row in cells(text_of(rows), "overview")[2:]] == [
        ["c-GAN", "1", "20.0"], ["b-GAN", "2", "50.0"], ["a-GAN", "3", "90.0"],
    ]  # fmt: skip
    document = page(rows)
    assert {cell["data-v"] for cell in document.all("td", **{"class": "best"})} >= {"20"}


def test_the_best_fid_is_that_of_the_first_rank_in_every_table() -> None:
    rows = [
        trial(method, seed=seed, fid=fid)
        for method, fids in (("a-GAN", (50.0, 52.0, 54.0)), ("b-GAN", (54.0, 52.0, 51.0)))
        for seed, fid in enumerate(fids)
    ]
    text = text_of(rows)
    assert [row[:3] for row in cells(text, "overview")[2:]] == [
        ["a-GAN", "1=", "52.0 ± 2.0"], ["b-GAN", "1=", "52.3 ± 1.5"],
    ]  # fmt: skip
    for key in ("overview", "fid"):
        (table,) = re.findall(
            rf'<table class="[^"]*" data-key="{key}">.*?</table>', text, re.DOTALL
        )
        best = Document(table).all("td", **{"class": "best"})
        assert len({cell["data-v"] for cell in best}) == 2, key


def test_fewer_seeds_are_told_once_by_the_name_or_beside_the_figures_they_concern() -> None:
    def seeds(method: str, counts: dict[float, int]) -> list[Result]:
        return [trial(method, e, seed=s, fid=9.0 + s) for e in counts for s in range(counts[e])]

    rows = [*seeds("a-GAN", {10: 3, 1: 3}), *seeds("b-GAN", {10: 2, 1: 2})]
    rows += [*seeds("c-GAN", {10: 3, 1: 2}), *seeds("d-GAN", {10: 3, 1: 3})]
    shown = {row[0]: " ".join(row[1:]) for row in cells(text_of(rows), "overview")[2:]}
    assert shown.keys() == {"a-GAN", "b-GAN (n = 2)", "c-GAN", "d-GAN"}
    assert "n =" not in shown["b-GAN (n = 2)"] and "(n = 2)" in shown["c-GAN"]


def test_every_figure_has_a_table_and_every_setting_a_row() -> None:
    text = text_of(grid(seeds=2))
    assert cells(text, "is")[0][0] == "method"
    settings = cells(text, "settings")
    assert len(settings) == 1 + 6 * 3 * 3
    assert {"FID (domain)", "ε with selection", "ε audited", "status"} <= set(settings[0])
    assert sum("★" in row[0] for row in settings) == 6 * 3
    assert text.count("∞</td>") >= 6 * 3  # the best of several clips was chosen by scores


def test_settings_are_sorted_by_the_number_of_their_seeds() -> None:
    rows = [trial(seed=seed) for seed in range(10)]
    rows += [trial("b-GAN", seed=seed, fid=9.0 if seed else None) for seed in range(3)]
    text = text_of(rows)
    assert '<td data-v="10">10/10</td>' in text and '<td data-v="2">2/3</td>' in text


def test_every_link_leads_somewhere_and_ids_are_unique() -> None:
    both = [*grid(seeds=1), *grid(seeds=1, protocol=INCEPTION)]
    document = page(both)
    ids = [found["id"] for _, found in document.found if "id" in found]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for a in document.all("a") if (a["href"] or "").startswith("#")}
    assert {f"#{name}" for name in ids} >= targets
    assert len(targets) > 100


def test_nothing_is_asked_of_anywhere() -> None:
    text = text_of(grid(seeds=1))
    assert not re.search(r'(?:src|href)="?(?!data:|#|results\.csv)[^" >]', text)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|import)\b\s*\(", text)


def test_without_a_script_everything_is_there() -> None:
    document = page(grid(seeds=1))
    hidden = [(tag, found.get("class")) for tag, found in document.found if "hidden" in found]
    assert hidden == [("form", "tools"), ("p", "more")]
    assert len(document.all("svg")) >= 3


def test_pictures_say_what_they_show(tmp_path: Path, save: Save) -> None:
    store = Store(tmp_path / "runs" / "artifacts")
    runs = save(with_artifacts([*controls(), trial(), trial("ae-grad-VAE")], store))
    made = make_page(make_report(load(runs)))
    images = Document(made.text).all("img")
    alts = [image["alt"] or "" for image in images]
    assert made.private and all(alts) and len(set(alts)) == len(alts)
    assert "10 samples of ae-grad-VAE at ε = 10" in alts and "real held-out images" in alts
    assert any("private images above their reconstructions by ae-gradient" in a for a in alts)
    assert any("after steps 1, 10, 100, from top to bottom" in alt for alt in alts)
    for image in images:
        kind, _, data = (image["src"] or "").partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")


def test_many_large_pictures_are_made_smaller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, save: Save
) -> None:
    monkeypatch.setattr("dpbench.leaderboard.html.images.BUDGET", 12_000)
    store = Store(tmp_path / "runs" / "artifacts")
    made = make_page(make_report(load(save(with_artifacts([trial(), trial("b-GAN")], store)))))
    assert sum(len(i["src"] or "") for i in Document(made.text).all("img")) < 12_000 * 4 / 3 + 600


def test_what_is_not_ranked_is_on_the_page_with_its_reason() -> None:
    rows = [
        trial("x<GAN>", fid=None, status="diverged", reason="reached NaN & stopped"),
        trial("y-GAN", audit=audit(12.0)),
        trial("z-GAN", status="collapsed", fid=3.0),
    ]
    text = text_of(rows)
    Document(text)
    assert "x&lt;GAN&gt;; ε = 10; clip 1; seed 0: diverged: reached NaN &amp; stopped" in text
    overview = {row[0]: row[1:3] for row in cells(text, "overview")[2:]}
    assert overview["x&lt;GAN&gt;"] == ["–", "diverged"]
    assert overview["y-GAN"] == ["–", "refuted"] and overview["z-GAN"] == ["1†", "3.0"]


def test_files_that_cannot_be_read_are_named() -> None:
    board = Leaderboard((trial(),), set_aside=(SetAside("results/a.json", "not JSON"),))
    assert "results/a.json: not JSON" in make_page(make_report(board)).text


def test_a_page_of_one_data_set_is_small() -> None:
    assert len(text_of(grid(seeds=5, generators=("GAN", "VAE", "Mixture"))).encode()) < 300_000


def test_accuracy_is_drawn_over_epsilon_where_it_was_measured() -> None:
    rows = [
        trial(epsilon=epsilon, metrics={"fid": 9.0, "accuracy_cnn": 0.5 + epsilon / 40})
        for epsilon in (1.0, 10.0)
    ]
    titles = [text for tag, text in page(rows).texts if tag == "figcaption"]
    assert "accuracy, CNN over ε" in titles
    assert "accuracy, CNN over ε" not in [t for _, t in page(grid(seeds=1)).texts]
