"""Third parties' submissions beside a leaderboard: what they are, and what is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpbench.leaderboard.report import Report
from dpbench.leaderboard.tables import MISSING, Column, Table
from dpbench.results.reading import read_each
from dpbench.submissions.file import FOLDER, Submission, read_submission

__all__ = ["with_submissions"]

HEADS = ("package", "repository", "commit", "grid", "status", "run again", "on", "why")


def with_submissions(report: Report, directory: Path) -> Report:
    """Add the submissions that lie beside a page in ``directory``, and name unreadable ones."""
    found, left = read_each(sorted((directory / FOLDER).glob("*.toml")), read_submission)
    report = replace(report, set_aside=(*report.set_aside, *map(str, left)))
    if not found:
        return report
    columns = [Column(head, left=True) for head in HEADS]
    return replace(
        report, submitted=Table("submitted", "Submissions", columns, [_row(one) for one in found])
    )


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
