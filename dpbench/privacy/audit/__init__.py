"""Empirical audit: a lower bound on epsilon from attacks on trained generators."""

from dpbench.privacy.audit.result import AuditKind, AuditResult
from dpbench.privacy.audit.run import run_audit

__all__ = ["AuditKind", "AuditResult", "run_audit"]
