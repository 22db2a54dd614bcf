"""Whatever lies among the results is shown, or named and set aside: nothing on disk stops a reader.

What is kept is damaged in one place: a bit, an end that is missing, a value of another type.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from leaderboard.fabricate import audit, control, trial
from odd import places, with_odd
from rich.console import Console

from dpbench.leaderboard import Leaderboard, load, print_leaderboard
from dpbench.leaderboard.render import render
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import Run, append_history, read_results, save_audit, save_result

SAMPLES = Path(__file__).parent / "samples" / "schema-1"
RUN = Run(command="dpbench run", versions={"dpbench": "1"}, wall_seconds=2.0, finished="now")
ODD: list[Any] = [
    None, [], {}, "", 0, -1, 1e308, 2**63, 10**400, True, [[]], {"a": 1}, [None], {"name": 3},
    "inf", "nan", math.nan, math.inf, "text", "\x1b[31m", "$\\frac{1$", "\ud800", "../" * 2000,
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of rows, audits and a history; of rows of an older schema, too."""
    runs = tmp_path_factory.mktemp("sound")
    trials = [trial(seed=s, epsilon=e) for s in (0, 1) for e in (1.0, math.inf)]
    failed = trial(status="failed", reason="it broke", fid=None, seed=7)
    for row in (*trials, failed, control("real", 2.0), control("public-images", 400.0)):
        save_result(runs, row)
    save_audit(runs, trials[0].identity, audit(2.0))
    save_audit(runs, trials[0].identity, ReplayVerdict(verdict="passed"))
    for _ in range(2):
        append_history(runs, RUN)
    for folder in ("results", "audits"):
        for old in sorted((SAMPLES / folder).glob("*.json"))[:3]:
            shutil.copy(old, runs / folder / f"old-{old.name}")
    return runs


def damaged(rng: random.Random, sound: bytes) -> bytes:
    """Return the bytes of a file after something happened to them."""
    way = rng.choice(["flip", "cut", "noise", "odd", "odd", "odd"])
    if way == "odd":
        content = json.loads(sound)
        at = rng.choice(list(places(content)))
        changed = with_odd(content, at, rng.choice(ODD))
        return json.dumps(changed).encode()
    if way == "noise":
        return rng.randbytes(rng.randint(0, 40))
    where = rng.randrange(len(sound))
    if way == "cut":
        return sound[:where]
    flipped = bytearray(sound)
    flipped[where] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def show(board: Leaderboard) -> None:
    for style in ("markdown", "csv", "json", "latex"):
        render(board, style, "method").encode()
    print_leaderboard(board, Console(file=io.StringIO(), width=120), "method")


def try_damage(sound: Path, runs: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = rng.choice(sorted(path for path in sound.rglob("*") if path.is_file()))
    shutil.copytree(sound, runs)
    try:
        (runs / path.relative_to(sound)).write_bytes(damaged(rng, path.read_bytes()))
        board = load(runs)
        show(board)
        assert all(str(file).isprintable() for file in board.set_aside)
        append_history(runs, RUN)
        save_result(runs, trial())
    except Exception as error:
        raise AssertionError(f"seed {seed}: {path.name}") from error
    finally:
        shutil.rmtree(runs)


def test_damage_is_named_and_the_rest_is_shown(sound: Path, tmp_path: Path) -> None:
    for seed in range(60):
        try_damage(sound, tmp_path / "damaged", seed)


@pytest.mark.slow
def test_much_damage_is_named_and_the_rest_is_shown(sound: Path, tmp_path: Path) -> None:
    for seed in range(5000):
        try_damage(sound, tmp_path / "damaged", seed)


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**27)


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("nowhere"),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "large": _large,
    "empty": Path.touch,
    "deep": lambda path: path.write_text("[" * 10**5),
}


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("name", ["results/x.json", "audits/x.json", "history.json"])
def test_what_is_no_file_is_named(sound: Path, tmp_path: Path, name: str, kind: str) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(sound, runs)
    path = runs / name
    path.unlink(missing_ok=True)
    ODD_FILES[kind](path)
    board = load(runs)
    none = name == "history.json" and not path.exists()  # as if nothing had been recorded
    assert [file.file for file in board.set_aside] == ([] if none else [name])
    assert len(board.results) == len(read_results(sound).results)
    append_history(runs, RUN)
    assert RUN in load(runs).history


def test_a_name_that_is_no_text_is_written_out(sound: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(sound, runs)
    Path(os.fsdecode(os.fsencode(runs / "results") + b"/\xff\x1b.json")).write_text("{")
    (left,) = load(runs).set_aside
    assert left.file == "results/\\udcff\\x1b.json"
