"""Third parties' submissions beside a leaderboard: what they are, and what is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpbench.errors import DpbenchError
from dpbench.leaderboard.report import Report
from dpbench.leaderboard.tables import MISSING, Column, Table
from dpbench.submissions.file import FOLDER, Submission, read_submissions

__all__ = ["with_submissions"]

HEADS = ("package", "repository", "commit", "grid", "status", "run again", "on", "why")


def with_submissions(report: Report, directory: Path) -> Report:
    """Add the submissions that lie beside a page in ``directory``, and name unreadable ones."""
    found, left = read_submissions(directory / FOLDER)
    unread = tuple(map(str, left))
    if not found:
        return replace(report, set_aside=(*report.set_aside, *unread))
    table = Table("submitted", "Submissions", [Column(head, left=True) for head in HEADS])
    for submission in found:
        try:
            table.rows.append(_row(submission))
        except DpbenchError as error:
            unread = (*unread, str(error))
    return replace(report, set_aside=(*report.set_aside, *unread), submitted=table)


def _row(submission: Submission) -> list[str]:
    verdict = submission.verdict
    known = ["submitted", MISSING, MISSING, ""]
    if verdict is not None:
        again = f"{len(verdict.cells)} of {verdict.trials} cells"
        known = [verdict.status, again, verdict.finished[:10], verdict.reason or ""]
    return [
        submission.distribution,
        submission.named,
        submission.commit[:12],
        ", ".join(submission.grid),
        *known,
    ]
