"""``dpbench verify``: run a part of a third party's submission again."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("verify", short_help="Run a part of a submission again, and compare.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="Of the submitted cells, run this share again; at least one.",
)
@click.option(
    "--seed",
    type=int,
    show_default="drawn, and kept in the verdict",
    help="Of the choice of cells: repeats that of a verdict.",
)
@click.option(
    "--on-top",
    is_flag=True,
    help="Install on top of this environment's packages, not into an empty environment: quick.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what is run again here.  [default: nowhere]",
)
def command(file: Path, share: float, seed: int | None, on_top: bool, runs: Path | None) -> None:
    """Install the submission FILE in an environment of its own and run a part of it again.

    The package is taken at its commit, has to pass `dpbench check`, and cells that chance
    chooses are run and compared with the submitted rows. The verdict is written beside FILE:
    verified, all came out the same; reproduced, with the same epsilon and an FID that is near;
    not. Exit code 0, or 1 for not; 2: it could not be judged.

    This runs the submission's code with your rights. An environment is not a sandbox: read the
    code, or use a machine that has nothing to lose.
    """
    import tempfile

    from rich.console import Console

    from dpbench.cli.console import say
    from dpbench.submissions.environment import fresh, layered
    from dpbench.submissions.file import read_submission
    from dpbench.submissions.verify import verify

    notes = Console(stderr=True)
    submission = read_submission(file)
    with tempfile.TemporaryDirectory(prefix="dpbench-verify-") as folder:
        verdict = verify(
            submission,
            Path(folder),
            (runs or Path(folder) / "runs").resolve(),
            share=share,
            seed=seed,
            environment=layered if on_top else fresh,
            notice=lambda line: say(notes, line),
        )
    for cell in verdict.cells:
        figures = [f"{_text(cell.again.get(name))} ({name}; {_text(fid)} was submitted)"
                   for name, fid in cell.submitted.items()]  # fmt: skip
        click.echo(f"{cell.trial}: FID {', '.join(figures)}")
    again = f"{len(verdict.cells)} of {verdict.trials} cells run again"
    said = [verdict.reason] if verdict.status == "not" else [again, verdict.reason]
    click.echo(f"{verdict.status}: {'; '.join(filter(None, said))}")
    click.echo(f"wrote {submission.record(verdict)}", err=True)
    raise SystemExit(verdict.status == "not")


def _text(fid: float | None) -> str:
    return "none" if fid is None else f"{fid:.4g}"
