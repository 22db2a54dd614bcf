"""Write the leaderboard of a runs directory as a page with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dpbench.leaderboard.board import Leaderboard, load
from dpbench.leaderboard.view import SHORT, View

__all__ = ["Written", "private_notice", "write_board", "write_leaderboard"]


@dataclass(frozen=True)
class Written:
    """The files of a leaderboard; ``private`` where its page shows private images."""

    files: tuple[Path, ...]
    private: bool = False


def write_leaderboard(runs: Path, directory: Path) -> Written:
    """Write all results under ``runs`` into ``directory``."""
    return write_board(load(runs), directory)


def write_board(board: Leaderboard, directory: Path, view: View = SHORT) -> Written:
    """Write ``index.html``, ``results.csv``, ``README.md`` with ``view``'s tables, and pictures."""
    from dpbench.leaderboard.readme import write_files  # matplotlib takes a while

    files, private = write_files(board, directory, view)
    return Written(tuple(files), private)


def private_notice(written: Written) -> str | None:
    """Return one line where what was written shows private images."""
    if not written.private:
        return None
    return "index.html shows private images, which no ε covers: do not share it"
