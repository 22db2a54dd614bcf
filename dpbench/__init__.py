"""Benchmark harness for differentially private image generation in latent space."""

from typing import TYPE_CHECKING, Any

from dpbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from dpbench.release import load_release

__all__ = ["__version__", "hookimpl", "load_release"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is asked for: plugins and `--help` do not wait for it."""
    if name == "load_release":
        from dpbench.release import load_release

        return load_release
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
