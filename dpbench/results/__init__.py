"""The one schema of results, and where they are kept."""

from dpbench.results.audits import save_audit
from dpbench.results.files import Rows, load_results, read_results, save_result, united
from dpbench.results.history import HISTORY, append_history, bring_history, read_history
from dpbench.results.identity import DEFAULT, TrialIdentity
from dpbench.results.reading import SetAside, to_json
from dpbench.results.schema import CONTROL, Choice, Privacy, Result, Run, Status
from dpbench.results.selection import Selection, by_cell, rivals, selection

__all__ = [
    "CONTROL",
    "DEFAULT",
    "HISTORY",
    "Choice",
    "Privacy",
    "Result",
    "Rows",
    "Run",
    "Selection",
    "SetAside",
    "Status",
    "TrialIdentity",
    "append_history",
    "bring_history",
    "by_cell",
    "load_results",
    "read_history",
    "read_results",
    "rivals",
    "save_audit",
    "save_result",
    "selection",
    "to_json",
    "united",
]
