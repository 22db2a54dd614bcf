"""``dpbench clean``: remove rows and artifacts that are no longer wanted."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import config_option, method_option, runs_option

if TYPE_CHECKING:
    from dpbench.results import Result

__all__ = ["command"]


@click.command("clean", short_help="Remove rows and artifacts that are no longer wanted.")
@runs_option
@method_option
@click.option(
    "--grid", "grids", multiple=True, help="Rows that only this grid mentioned; repeatable."
)
@click.option(
    "--made-with", "plugins", multiple=True, metavar="PLUGIN", help="Rows made with it; repeatable."
)
@click.option("--uninstalled", is_flag=True, help="Rows of plugins that are not installed.")
@click.option("--older-than", type=click.FloatRange(0), metavar="DAYS", help="Only older rows.")
@click.option("--unreachable", is_flag=True, help="Artifacts that no row stands on.")
@click.option(
    "--published",
    type=click.Path(path_type=Path),
    default=Path("leaderboard/results.csv"),
    show_default=True,
    help="Keep what this table refers to.",
)
@click.option("--even-published", is_flag=True, help="Do not keep it.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@config_option
def command(
    runs: Path,
    methods: tuple[str, ...],
    grids: tuple[str, ...],
    plugins: tuple[str, ...],
    uninstalled: bool,
    older_than: float | None,
    unreachable: bool,
    published: Path,
    even_published: bool,
    dry_run: bool,
    config: Path | None,
) -> None:
    """Remove the rows that all given options choose, and the artifacts that only they need.

    What a committed leaderboard refers to stays, unless told otherwise.
    """
    from dpbench.leaderboard import load
    from dpbench.planning.config import read_config, unknown_parts
    from dpbench.runner.directory import RunDirectory
    from dpbench.upkeep.clean import half_written, published_keys, remove, select

    narrowed = bool(methods or grids or plugins or uninstalled or older_than is not None)
    if not narrowed and not unreachable:
        raise click.UsageError(
            "say what should go: --method, --grid, --made-with, --uninstalled, --older-than or "
            "--unreachable"
        )
    directory = RunDirectory(runs)
    known = None
    if uninstalled:
        from dpbench.plugins import registry  # takes seconds

        # read alone: a grid may go on naming what is gone
        known = read_config(config), registry().classes
    named = {r.key for r in load(runs).filter(methods=methods).results} if methods else None

    def chosen(row: Result) -> bool:
        parts = {row.public, row.extractor, row.generator}
        return narrowed and (
            (named is None or (row.key in named and not row.is_control))
            and (not grids or (bool(row.grids) and set(row.grids) <= set(grids)))
            and (not plugins or not parts.isdisjoint(plugins))
            and (known is None or bool(unknown_parts(*known, row)))
        )

    scratch = half_written(directory)
    # Nothing is to be found unneeded while a run that needs it ends.
    with contextlib.nullcontext() if dry_run else directory.lock():
        found = select(
            directory,
            chosen,
            older_than=older_than,
            unreachable=unreachable,
            published=frozenset() if even_published else published_keys(published),
        )
        if not dry_run:
            remove(directory, found)
    done = "would remove" if dry_run else "removed"
    click.echo(
        f"{done} {len(found.rows)} rows and {len(found.artifacts)} artifacts, "
        f"{found.size / 1024**2:.1f} MiB"
    )
    if scratch:
        click.echo(f"{done} {scratch} temporary directories of killed runs")
    if found.kept:
        click.echo(
            f"kept {found.kept} rows: {published} refers to them (--even-published), or a row that "
            "stays was chosen among them"
        )
