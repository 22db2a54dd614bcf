"""What is typed wrongly is told in one line, with the nearest verb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from dpbench.errors import did_you_mean, printable

__all__ = ["ExpectedFailure", "Verbs", "told_in_one_line"]


class ExpectedFailure(click.ClickException):
    """One line on stderr, and 2."""

    exit_code = 2


class Verbs(click.Group):
    """A group of verbs that suggests one in place of an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known:
            ctx.fail(f"unknown verb {args[0]!r}{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)


@contextmanager
def told_in_one_line(path: str) -> Iterator[None]:
    """Leave out the usage that click prints above a mistake of the verb at ``path``."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        line = printable(" ".join(error.format_message().split()))
        stop = "" if line.endswith((".", "?", ")")) else "."
        verb = error.ctx.command_path if error.ctx else path
        raise ExpectedFailure(f"{line}{stop} See `{verb} --help`") from error
