"""The entry point: finds verbs, turns expected errors into one line."""

from __future__ import annotations

import errno
import importlib
from typing import Any

import click

from dpbench import __version__, broken
from dpbench.cli.interrupt import EXIT_CODE
from dpbench.cli.options import take_plugin_files
from dpbench.cli.usage import ExpectedFailure, Verbs, told_in_one_line
from dpbench.errors import DpbenchError, one_line, printable

__all__ = ["cli", "main"]

VERBS = (
    "run",
    "leaderboard",
    "show",
    "open",
    "status",
    "score",
    "audit",
    "statement",
    "release",
    "compare",
    "merge",
    "explain",
    "logs",
    "reproduce",
    "clean",
    "doctor",
    "data",
    "config",
    "plugins",
    "new",
    "check",
    "verify",
)


#: What to do where it is not the path that the system refuses.
REMEDIES = {
    errno.EAGAIN: "no more processes or threads: end others, raise `ulimit -u` or give fewer "
    "--workers",
    errno.ENOMEM: "no more memory: end other programs or give fewer --workers",
    errno.EMFILE: "too many open files: raise `ulimit -n` or give fewer --workers",
    errno.ENFILE: "too many open files on this machine: end other programs",
}


class Interrupted(click.ClickException):
    """One line on stderr, and what a shell expects of Ctrl-C."""

    exit_code = EXIT_CODE

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class Dpbench(Verbs):
    """Loads each verb from the module of its name; expected errors exit with 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"dpbench.cli.{name}").command
        take_plugin_files(command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with told_in_one_line(ctx.command_path):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with told_in_one_line(ctx.command_path):
                return super().invoke(ctx)
        except DpbenchError as error:
            raise ExpectedFailure("\n".join(map(printable, str(error).split("\n")))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads has seen enough
                raise
            remedy = REMEDIES.get(
                error.errno or 0, "name another path, free space or mend permissions"
            )
            raise ExpectedFailure(f"the system refuses: {one_line(error)}: {remedy}") from error
        except KeyboardInterrupt as stop:
            raise Interrupted(str(stop) or "interrupted") from stop


@click.group("dpbench", cls=Dpbench, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dpbench")
def cli() -> None:
    """Benchmark differentially private image generators in latent space."""
    broken.listeners[:] = [_tell]


def _tell(plugin: broken.Broken) -> None:
    click.echo(str(plugin), err=True)


def main() -> None:
    cli()
