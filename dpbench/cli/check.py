"""``dpbench check``: whether a plugin keeps what its kind promises."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dpbench.plugins import Registered
    from dpbench.testing import Report

__all__ = ["command"]

COLOURS = {"passed": "green", "failed": "red", "expected": "yellow", "skipped": "dim"}


@click.command("check", short_help="Check a plugin against what its kind promises.")
@click.argument("name")
@click.option("--kind", help="Only the plugin of this kind, where several share a name.")
@click.option(
    "--param",
    "-p",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="A hyperparameter, the value as JSON; repeatable.  [default: the plugin's check_params]",
)
@click.option("--strict", is_flag=True, help="A check that could not run fails as well.")
@click.option("--verbose", "-v", is_flag=True, help="Show checks that passed too.")
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(
    name: str, kind: str | None, pairs: tuple[str, ...], strict: bool, verbose: bool, style: str
) -> None:
    """Check the plugin NAME, or every plugin of the distribution NAME.

    Needs no data: kits bring small latents and images. Training is cut to a few steps, so
    that what a plugin learns is not judged, only whether it keeps its promises.

    Exit code 0: all checks that ran passed or were expected to fail; 1: one failed, or none
    ran (with --strict: or one could not run); 2: there is no such plugin.
    """
    from rich.console import Console

    from dpbench.plugins import registry
    from dpbench.testing import check

    params = dict(_pair(pair) for pair in pairs) or None
    found: list[tuple[Registered, Report]] = []
    notes = Console(stderr=True)
    for entry in registry().named(name, kind):
        with notes.status(f"checking {entry.cls.kind} {entry.cls.name}"), _quiet():
            found.append((entry, check(entry.cls, params=params)))
    if style == "json":
        click.echo(json.dumps([_record(*pair) for pair in found], indent=2))
    else:
        for _, report in found:
            _show(report, verbose)
    good = all(report.ok and not (strict and report.skipped) for _, report in found)
    raise SystemExit(0 if good else 1)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.UsageError(f"--param {text!r}: write KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a plugin prints from the table."""
    import tempfile
    from pathlib import Path

    from dpbench.executors.log import printed_to

    with tempfile.TemporaryDirectory() as folder, printed_to(Path(folder) / "printed.txt"):
        yield


def _record(entry: Registered, report: Report) -> dict[str, Any]:
    source = {"distribution": entry.distribution, "version": entry.distribution_version}
    return {**source, **report.records()}


def _show(report: Report, verbose: bool) -> None:
    from rich.text import Text

    from dpbench.cli.console import plain_table, table_console

    console = table_console()
    shown = [r for r in report.results if verbose or r.outcome in ("failed", "expected")]
    if shown:
        table = plain_table("check", "outcome", "why", "s")
        for result in shown:
            figures = ", ".join(f"{value:.3g} {name}" for name, value in result.figures.items())
            outcome = Text(result.outcome, style=COLOURS[result.outcome])
            why = Text(result.reason or figures)
            table.add_row(result.check, outcome, why, f"{result.seconds:.1f}")
        console.print(table)
    for reason, checks in _skipped(report).items():
        console.print(Text(f"not run: {', '.join(checks)}: {reason}"))
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    console.print(Text(f"{report.kind} {report.plugin}: {len(report.results)} checks: {counts}"))


def _skipped(report: Report) -> dict[str, list[str]]:
    """Gather the checks that did not run by their reason."""
    found: dict[str, list[str]] = {}
    for result in report.skipped:
        found.setdefault(result.reason, []).append(result.check)
    return found
