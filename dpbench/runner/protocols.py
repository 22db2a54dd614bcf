"""Which protocols a run has where its configuration says ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dpbench.errors import DpbenchError
from dpbench.executors.device import choose_device
from dpbench.planning.config import Config
from dpbench.planning.plan import Options
from dpbench.planning.trials import Request, scored_by_default
from dpbench.runner.data import released

__all__ = ["CANONICAL", "automatic"]

#: Scored with Inception, as the field's papers are: slow without a GPU.
CANONICAL = "canonical"


def automatic(
    config: Config, request: Request, weights: Mapping[str, Path], device: str
) -> tuple[Config, str | None]:
    """Add the canonical protocol to the default one where it can be had at a fair price.

    Args:
        request: what is asked for; where it has protocols of its own, nothing is added.
        weights: files that the user names, by evaluator.
        device: what ``--device`` says.

    Returns:
        The configuration with its protocols named, and one line that says what is
        missing and how to get it; ``None`` if nothing is.

    Raises:
        DpbenchError: a name in ``request`` that is neither a grid's nor a method's.
    """
    if not scored_by_default(config, request):
        return config, None
    if config.file.default_protocols != "auto" or CANONICAL not in config.file.protocols:
        return config, None
    reason = _reason(config, weights, device)
    names = [*([] if reason else [CANONICAL]), *config.default_protocols]
    file = config.file.model_copy(update={"default_protocols": names})
    missing = f"no Inception scores ({reason})" if reason else None
    return replace(config, file=file), missing


def _reason(config: Config, weights: Mapping[str, Path], device: str) -> str | None:
    """Say why there are no canonical scores."""
    if not choose_device(device).startswith("cuda"):
        return f"slow without a GPU: `--protocol default --protocol {CANONICAL}` computes them"
    evaluator = config.file.protocols[CANONICAL].evaluator
    try:
        released(config, evaluator, Options(weights=weights))
    except DpbenchError as error:
        return str(error)
    return None
