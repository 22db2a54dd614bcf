"""Empirical audit: a lower bound on epsilon from attacks on trained generators."""

from dpbench.privacy.audit.result import AuditKind, AuditResult
from dpbench.privacy.audit.run import Effort, run_audit, run_audits
from dpbench.privacy.audit.trainer import Subject

__all__ = ["AuditKind", "AuditResult", "Effort", "Subject", "run_audit", "run_audits"]
