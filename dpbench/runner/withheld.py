"""What plugins say that saw private images: in secure mode it goes to the logs alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from dpbench.executors.log import log_path
from dpbench.planning.plan import Job
from dpbench.privacy.replay import ReplayVerdict

__all__ = ["WITHHELD", "Tell", "told_verdict", "withheld"]

WITHHELD = "the reason is in the run's logs alone: in secure mode it may quote private images"

#: Maps why a job, or a part of it, failed to what may be told of that.
Tell = Callable[[Job, str], str]


def told_verdict(verdict: ReplayVerdict, secure: bool) -> ReplayVerdict:
    """Return what may be told of a replay: why there was none is in a plugin's words."""
    quotes = secure and verdict.verdict == "not-replayed"
    return verdict.model_copy(update={"reason": WITHHELD}) if quotes else verdict


def withheld(logs: Path) -> Tell:
    """Return what keeps reasons in ``logs`` and tells :data:`WITHHELD` in their place."""

    def tell(job: Job, reason: str) -> str:
        with contextlib.suppress(OSError):
            path = log_path(logs, job.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{reason}\n")
        return WITHHELD

    return tell
