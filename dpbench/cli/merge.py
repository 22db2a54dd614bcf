"""``dpbench merge``: results of several machines in one directory."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

_directory = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("merge", short_help="Join the results of several machines.")
@click.argument("sources", nargs=-1, required=True, type=_directory)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The runs directory to join them in.",
)
def command(sources: tuple[Path, ...], to: Path) -> None:
    """Copy results, audits and artifacts of the runs directories SOURCES into --to.

    Refused where protocols of one name differ, and in what they differ is said.
    """
    from dpbench.analysis.merge import merge
    from dpbench.results.find import trial_name

    done = merge(sources, to)
    click.echo(f"{to}: {done.added} rows added, {done.same} were there")
    for result in done.unlike:
        click.echo(
            f"note: {trial_name(result)}, clip {result.clip}, seed {result.seed} was there with "
            "other figures, which stay",
            err=True,
        )
