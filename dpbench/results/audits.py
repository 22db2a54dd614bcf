"""What audits found, kept beside the results they are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dpbench.privacy.audit.result import AuditResult
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results.identity import TrialIdentity
from dpbench.results.migrate import migrate_audit
from dpbench.results.reading import SetAside, read_each, read_json, to_json
from dpbench.results.schema import SCHEMA_VERSION, Result, Strict
from dpbench.store import content_key, write_json

__all__ = ["save_audit", "with_audits"]


class _Audit(Strict):
    """A finding, and the fields that name the trials it is of."""

    schema_version: int
    trial: dict[str, Any]
    found: AuditResult | ReplayVerdict


def save_audit(runs: Path, trial: TrialIdentity, found: AuditResult | ReplayVerdict) -> None:
    """Keep what an audit of ``trial`` found: it is of the trial with any seed.

    Kinds of audits stand beside each other; one of the same kind is replaced.
    """
    named = to_json(trial.candidate, exclude={"seed"})
    kind = found.kind if isinstance(found, AuditResult) else "replay"
    content = {
        "schema_version": SCHEMA_VERSION,
        "trial": named,
        "found": to_json(found),
    }
    write_json(runs / "audits" / f"{content_key([named, kind])}.json", content)


def with_audits(runs: Path, results: Iterable[Result]) -> tuple[list[Result], list[SetAside]]:
    """Return ``results`` with what audits found of them, and the audits that cannot be read."""
    audits, left = read_each(sorted((runs / "audits").glob("*.json")), _read)
    # An audit is of every trial that agrees with it in all the fields it names.
    kept: dict[tuple[str, ...], dict[str, list[_Audit]]] = defaultdict(lambda: defaultdict(list))
    for audit in audits:
        kept[tuple(sorted(audit.trial))][content_key(audit.trial)].append(audit)

    def of(result: Result) -> Iterator[_Audit]:
        identity = to_json(result.identity) if kept else {}
        for names, several in kept.items():
            named = {name: identity.get(name) for name in names}
            yield from several.get(content_key(named), ())

    return [_with(result, list(of(result))) for result in results], left


def _read(path: Path) -> _Audit:
    return _Audit.model_validate(migrate_audit(read_json(path)))


def _with(result: Result, audits: list[_Audit]) -> Result:
    """Give a result the gravest of what was found."""
    if not audits and result.audit is None:
        return result
    bounds = [a.found for a in audits if isinstance(a.found, AuditResult)]
    replays = [a.found for a in audits if isinstance(a.found, ReplayVerdict)]
    update: dict[str, Any] = {
        "audit": max(bounds, key=lambda a: (a.refuted, a.epsilon_lower), default=None)
    }
    if replays and result.privacy:
        replays += [result.privacy.replay] if result.privacy.replay else []
        gravest = min(replays, key=lambda replay: replay.verdict)
        update["privacy"] = result.privacy.model_copy(update={"replay": gravest})
    return result.model_copy(update=update)
