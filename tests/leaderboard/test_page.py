"""What is written: the page, the CSV and the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dpbench.errors import DpbenchError
from dpbench.leaderboard import (
    Leaderboard,
    View,
    load,
    private_notice,
    write_board,
    write_leaderboard,
)
from dpbench.leaderboard.pictures import mosaic
from dpbench.leaderboard.sheet import samples
from dpbench.results import Result
from dpbench.store import Store
from dpbench.submissions.file import Verdict, read_submission
from leaderboard.artifacts import images, with_artifacts
from leaderboard.fabricate import INCEPTION, controls, grid, trial

PNG = b"\x89PNG\r\n\x1a\n"
Save = Callable[[Iterable[Result]], Path]


def test_a_page_with_everything(tmp_path: Path, save: Save) -> None:
    store = Store(tmp_path / "runs" / "artifacts")
    runs = save(with_artifacts([*controls(), trial(), trial("ae-grad-VAE")], store))
    record = {
        "command": "dpbench run --grid all",
        "wall_seconds": 803.2,
        "finished": "2026-01-02T03:04:05",
        "versions": {"dpbench": "0.1.0", "machine": "2 cores"},
    }
    (runs / "history.json").write_text(json.dumps([record]))
    written = write_leaderboard(runs, tmp_path / "out")
    names = {path.name for path in written.files}
    assert names == {
        "index.html", "README.md", "results.csv", "fid_over_epsilon.svg", "samples.png",
    }  # fmt: skip
    assert (tmp_path / "out" / "samples.png").read_bytes().startswith(PNG)
    page = (tmp_path / "out" / "README.md").read_text()
    assert "10,000 generated images against the private training images" in page
    assert "weights 3fa2c19b" in page
    assert "dpbench run --grid all" in page and "13 min 23 s" in page and "2 cores" in page
    for name in names - {"README.md"}:
        assert f"({name})" in page
    assert "`index.html` shows private images themselves" in page
    notice = private_notice(written)
    assert notice is not None and "index.html shows private images" in notice
    whole = (tmp_path / "out" / "index.html").read_text()
    assert "zero-out adjacency" in whole and "δ = 1e-6" in whole
    assert "benchmarks, not releases" in whole and "Choosing leaks" in whole
    assert whole.count("These pictures show private images: no ε covers them.") == 2


def test_a_release_shows_no_private_image(tmp_path: Path, save: Save) -> None:
    store = Store(tmp_path / "runs" / "artifacts")
    rows = [*controls(secure=True), trial(secure=True)]
    runs = save(with_artifacts(rows, store))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reconstructions.png").write_text("of a benchmark before")
    written = write_leaderboard(runs, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "index.html", "README.md", "results.csv", "fid_over_epsilon.svg", "samples.png",
    }  # fmt: skip
    assert private_notice(written) is None
    texts = [(tmp_path / "out" / n).read_text() for n in ("index.html", "README.md", "results.csv")]
    text = "".join(texts)
    assert "leakage" not in text and "private images themselves" not in text
    assert "show private images" not in text and "real held-out" not in text
    assert "samples of ae-enc-GAN" in text
    (section,) = load(runs).sections
    figure = samples(section, store)
    assert figure is not None
    assert "real held-out images" not in [axes.get_title() for axes in figure.axes]


def test_files_that_cannot_be_read_are_named_on_the_page(tmp_path: Path, save: Save) -> None:
    runs = save([trial()])
    (runs / "results" / "a.json").write_text("{")
    (runs / "history.json").write_text("[3]")
    write_leaderboard(runs, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    assert "results/a.json: not JSON" in page and "history.json, entry 1" in page


def test_a_page_without_artifacts_or_record(tmp_path: Path, save: Save) -> None:
    runs = save(grid(seeds=1))
    names = {path.name for path in write_leaderboard(runs, tmp_path / "out").files}
    assert names == {"index.html", "README.md", "results.csv", "fid_over_epsilon.svg"}
    page = (tmp_path / "out" / "README.md").read_text()
    assert "no record of their commands" in page and "{{" not in page


def test_sections_have_their_own_pictures(tmp_path: Path) -> None:
    fashion = grid(seeds=1, dataset="fashion-mnist")
    results = (*grid(seeds=1), *grid(seeds=1, protocol=INCEPTION), *fashion)
    names = {path.name for path in write_board(Leaderboard(results), tmp_path).files}
    for suffix in ("", "-mnist", "-fashion-mnist"):
        assert f"fid_over_epsilon{suffix}.svg" in names


def test_the_readme_has_the_figures_asked_for(tmp_path: Path) -> None:
    write_board(Leaderboard(tuple(grid(seeds=1))), tmp_path, View(metrics=("is",), epsilons=(1.0,)))
    table = (tmp_path / "README.md").read_text()
    assert "ε = 1<br>IS" in table and "<br>FID" not in table and "ε = 10<br>" not in table
    assert "**" not in table  # what is best, by FID, is not best by these


def test_a_figure_that_no_result_has_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DpbenchError, match="no figure 'accuracyy' in these results"):
        write_board(Leaderboard((trial(),)), tmp_path / "out", View(metrics=("accuracyy",)))
    assert not (tmp_path / "out").exists()


def test_the_best_fid_is_bold_wherever_it_stands(tmp_path: Path) -> None:
    write_board(
        Leaderboard(tuple(grid(seeds=1))), tmp_path, View(metrics=("is", "fid"), epsilons=(1.0,))
    )
    rows = [line.split("|") for line in (tmp_path / "README.md").read_text().splitlines()]
    bold = {column for row in rows for column, cell in enumerate(row) if "**" in cell}
    assert bold == {4}


def test_old_pictures_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("samples-gone.png", "notes.txt"):
        (tmp_path / name).write_text("old")
    write_board(Leaderboard((trial(),)), tmp_path)
    assert not (tmp_path / "samples-gone.png").exists()
    assert (tmp_path / "notes.txt").exists()


def test_a_page_stays_until_the_next_one_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_board(Leaderboard((trial(),)), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_report: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr("dpbench.leaderboard.readme.make_page", fail)
    with pytest.raises(RuntimeError):
        write_board(Leaderboard((trial("b-GAN"),)), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_old_page_that_somebody_else_removes_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_board(Leaderboard((trial(),)), tmp_path)
    unlink = Path.unlink

    def second(path: Path, missing_ok: bool = False) -> None:
        unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", second)
    write_board(Leaderboard((trial(),)), tmp_path)
    assert (tmp_path / "index.html").exists()


def test_a_corrupt_artifact_costs_its_picture_only(tmp_path: Path, save: Save) -> None:
    store = Store(tmp_path / "runs" / "artifacts")
    runs = save(with_artifacts([trial()], store))
    (store.path("features", "f0") / "tensors.safetensors").write_bytes(b"no")
    names = {path.name for path in write_leaderboard(runs, tmp_path / "out").files}
    assert "README.md" in names and "samples.png" not in names


def test_a_submission_whose_rows_cannot_be_read_is_named_and_the_others_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "submissions"
    folder.mkdir()
    verdict = Verdict(
        status="not", of="", trials=1, share=1, seed=0, tolerance=0, versions={}, finished=""
    )
    for name in ("lost", "mine"):
        (folder / f"{name}.csv").write_text("method\n")
        (folder / f"{name}.toml").write_text(
            f'distribution = "{name}"\nrepository = "."\ncommit = "{"0" * 40}"\n'
            f'grid = ["all"]\nresults = "{name}.csv"\n'
        )
        read_submission(folder / f"{name}.toml").record(verdict)
    read = Path.read_bytes

    def sealed(path: Path) -> bytes:
        if path.name == "lost.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", sealed)
    write_board(Leaderboard((trial(),)), tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "- submissions/lost.toml: PermissionError: " in page and "| mine " in page


def test_only_unscored_results_still_make_a_page(tmp_path: Path) -> None:
    failed = trial(fid=None, status="failed", reason="boom", protocol={"name": "default"})
    write_board(Leaderboard((failed,)), tmp_path)
    assert "failed: boom" in (tmp_path / "index.html").read_text()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DpbenchError, match=r"cannot write the leaderboard to .*file"):
        write_board(Leaderboard((trial(),)), tmp_path / "file")


def test_no_results_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DpbenchError, match="dpbench run --grid smoke"):
        load(tmp_path)


def test_a_mosaic_keeps_every_pixel() -> None:
    pictures = images(5)
    laid_out = mosaic(pictures, 3)
    assert laid_out.shape == (2 * 14 - 2, 3 * 14 - 2)
    assert (laid_out[14:26, 14:26] == pictures[4, 0].numpy()).all()
    assert (laid_out[14:, 28:] == 255).all()
    assert mosaic(pictures.expand(-1, 3, -1, -1), 5).shape == (12, 68, 3)


def test_rows_of_fewer_seeds_than_most_are_named(tmp_path: Path, save: Save) -> None:
    rows = [trial(method, seed=seed) for method in ("a-GAN", "b-GAN") for seed in range(3)]
    runs = save([*rows, trial("c-GAN", seed=0)])
    write_leaderboard(runs, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    assert "Means over 3 seeds" in page and "- 1 seed alone: c-GAN." in page
