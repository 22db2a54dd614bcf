"""The one schema of results, and where they are kept."""

from dpbench.results.files import (
    AUDITED,
    CONTROL,
    HISTORY,
    Result,
    Status,
    load_results,
    read_history,
    save_audit,
    save_result,
)

__all__ = [
    "AUDITED",
    "CONTROL",
    "HISTORY",
    "Result",
    "Status",
    "load_results",
    "read_history",
    "save_audit",
    "save_result",
]
