"""Write the leaderboard of a runs directory as a page with pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dpbench.leaderboard.board import Leaderboard, load

__all__ = ["private_notice", "write_board", "write_leaderboard"]

#: Pictures, by the beginning of their file's name, that show private images.
PRIVATE_PICTURES = ("reconstructions", "neighbours")


def write_leaderboard(runs: Path, directory: Path) -> list[Path]:
    """Write all results under ``runs`` into ``directory``; return the files written."""
    return write_board(load(runs), directory)


def write_board(board: Leaderboard, directory: Path) -> list[Path]:
    """Write ``results.csv``, ``README.md`` and pictures; return the files written."""
    from dpbench.leaderboard.page import write_page  # matplotlib takes a while

    return write_page(board, directory)


def private_notice(written: Iterable[Path]) -> str | None:
    """Return one line where pictures among ``written`` show private images."""
    shown = sorted(p.name for p in written if p.name.startswith(PRIVATE_PICTURES))
    if not shown:
        return None
    verb = "shows" if len(shown) == 1 else "show"
    return f"{', '.join(shown)} {verb} private images, which no ε covers: do not share them"
