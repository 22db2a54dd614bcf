"""``dpbench new``: a package to start a plugin from."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

#: The names of ``dpbench.new.KINDS``, whose module a ``--help`` does not wait for.
NAMES = ("generator", "public-model", "extractor", "metric", "dataset", "executor")

#: What else kinds are called: by `dpbench plugins` and `dpbench check`.
ALSO = {"public": "public-model"}


@click.command("new", short_help="Write a package to start a plugin from.")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice((*NAMES, *ALSO)),
    default="generator",
    show_default=True,
    help="What the package is to hold.",
)
@click.option(
    "--to",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to put it.  [default: the working directory]",
)
def command(name: str, kind: str, parent: Path) -> None:
    """Write the package dpbench-NAME: source, tests by the kit, README, CI file.

    It runs and passes `dpbench check NAME` as it is written; then make it yours.
    """
    from dpbench.new import KINDS, make_package

    kind = ALSO.get(kind, kind)
    root = make_package(name, kind, parent)
    plugin = root.name.removeprefix("dpbench-")
    click.echo(
        f"wrote {root}; next:\n"
        f"  pip install -e '{root}[test]'\n"
        f"  dpbench check {plugin}\n"
        f"  {KINDS[kind].use.format(name=plugin)}"
    )
