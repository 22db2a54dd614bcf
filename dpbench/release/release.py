"""From a trial of a finished run to a directory that may be shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dpbench.errors import DpbenchError
from dpbench.planning.config import Config
from dpbench.privacy.statement import Statement, make_statement, rounded_up
from dpbench.release.objections import objections
from dpbench.release.train import train
from dpbench.release.write import require_empty, write_release
from dpbench.results import Result, Selection, load_results, rivals, selection
from dpbench.results.find import find_trial
from dpbench.results.identity import Labels
from dpbench.runner.directory import RunDirectory

__all__ = ["NotReleased", "release"]


class NotReleased(DpbenchError):
    """A trial that should not be shared, and why."""


def release(
    config: Config,
    directory: RunDirectory,
    trial: str,
    to: Path,
    *,
    clip: float | None = None,
    dataset: str | None = None,
    labels: Labels | None = None,
    count: int = 10000,
    force: bool = False,
    device: str = "cpu",
    licence: str = "",
    creator: str = "",
    notice: Callable[[str], None] = lambda _text: None,
) -> Statement:
    """Learn ``trial`` anew with secret noise and write ``count`` images of it to ``to``.

    Raises:
        NotReleased: there are objections, and no ``force``.
        UnknownTrial: no trial has this name, or several have.
    """
    require_empty(to)
    results = load_results(directory.root)
    chosen = find_trial(results, trial, clip=clip, dataset=dataset, labels=labels)
    trained = rivals(results, chosen)
    against = list(objections(chosen, trained))
    _object(against, force, notice)
    made = train(config, chosen, directory, device, notice)
    more = [line for line in objections(made.result, trained) if line not in against]
    _object(more, force, notice)
    others = (result for result in trained if result.candidate != chosen.candidate)
    statement = _statement(made.result, selection([made.result], others))
    write_release(
        to,
        made.sampler,
        statement,
        count,
        device=device,
        licence=licence,
        creator=creator,
        objections=[*against, *more],
    )
    return statement


def _object(found: list[str], force: bool, notice: Callable[[str], None]) -> None:
    if found and not force:
        raise NotReleased(f"not released: {'; '.join(found)}; or insist with --force")
    for line in found:
        notice(f"in spite of: {line}")


def _statement(result: Result, found: Selection) -> Statement:
    made = make_statement(result, found)
    assert made is not None  # it was trained
    # The seed of what protects nothing is nobody's business.
    epsilon = rounded_up(made.epsilon_released)
    title = f"Synthetic {result.dataset} by {result.method}, epsilon {epsilon}"
    return made.model_copy(update={"title": title})
