"""The subject of each kind of plugin, and all checks."""

from __future__ import annotations

from dpbench.testing import audits, every_kind, generator_privacy, generators  # what fills CHECKS
from dpbench.testing.generator_subject import GeneratorSubject
from dpbench.testing.subject import Subject

__all__ = ["SUBJECTS"]

_FILLED = (every_kind, generators, generator_privacy, audits)

SUBJECTS: dict[str, type[Subject]] = {"generator": GeneratorSubject}
