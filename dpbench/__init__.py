"""Benchmark harness for differentially private image generation in latent space.

In a script or notebook::

    import dpbench

    board = dpbench.run(grid="smoke")            # or dpbench.load() for what is there
    board.frame                                  # a pandas table, a row for each trial
    board.plot("fid")                            # over epsilon, as SVG
    board.trial("ae-enc-VAE", epsilon=10).samples  # uint8 images [N, C, H, W]

The names in ``__all__``, those of :mod:`dpbench.api` and of :mod:`dpbench.testing` are
stable: they change with a note in the changelog, and a deprecation before that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dpbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from dpbench.errors import DpbenchError
    from dpbench.leaderboard import FinishedTrial, Leaderboard
    from dpbench.release import load_release
    from dpbench.script import load, run

__all__ = [
    "DpbenchError",
    "FinishedTrial",
    "Leaderboard",
    "__version__",
    "hookimpl",
    "load",
    "load_release",
    "run",
]
__version__ = "0.1.0"

#: Imported when first asked for: a plugin, or a worker, needs none of them.
_LATER = {
    "DpbenchError": "dpbench.errors",
    "FinishedTrial": "dpbench.leaderboard",
    "Leaderboard": "dpbench.leaderboard",
    "load": "dpbench.script",
    "load_release": "dpbench.release",
    "run": "dpbench.script",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
