"""Empirical audit: a lower bound on epsilon from attacks on trained generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpbench.privacy.audit.result import AuditKind, AuditResult

if TYPE_CHECKING:
    from dpbench.privacy.audit.run import Effort, run_audit, run_audits
    from dpbench.privacy.audit.trainer import Subject

__all__ = ["AuditKind", "AuditResult", "Effort", "Subject", "run_audit", "run_audits"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: a row holds a finding and no more."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dpbench.privacy.audit.run import Effort, run_audit, run_audits
    from dpbench.privacy.audit.trainer import Subject

    return {
        "Effort": Effort,
        "Subject": Subject,
        "run_audit": run_audit,
        "run_audits": run_audits,
    }[name]
