"""``dpbench open``: the leaderboard as a page, in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from dpbench.cli.options import runs_option

__all__ = ["command"]


@click.command("open", short_help="Open the leaderboard's page in a browser.")
@runs_option
@click.option("--print", "printed", is_flag=True, help="Only print where the page is.")
def command(runs: Path, printed: bool) -> None:
    """Open the page of a runs directory; it is written first where results changed since."""
    from dpbench.errors import DpbenchError
    from dpbench.leaderboard import write_leaderboard

    page = runs / "leaderboard" / "index.html"
    if _outdated(page, runs):
        write_leaderboard(runs, page.parent)
    if printed:
        click.echo(page)
    elif click.launch(str(page)):
        raise DpbenchError(f"no browser could be started: open {page.resolve()} yourself")


def _outdated(page: Path, runs: Path) -> bool:
    """Say whether there is no page yet, or a result or an audit came, or went, after it."""
    if not page.exists():
        return True
    written = page.stat().st_mtime
    folders = [folder for name in ("results", "audits") if (folder := runs / name).is_dir()]
    looked = (path for f in folders for path in (f, *f.glob("*.json")))
    return any(path.stat().st_mtime > written for path in looked)
