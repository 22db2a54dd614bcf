"""From a row back to the trial that it is of."""

from __future__ import annotations

from dpbench.planning.config import Config
from dpbench.planning.trials import Request
from dpbench.results import Result

__all__ = ["request_again"]


def request_again(config: Config, chosen: Result) -> Request:
    """Return the request whose plan holds the trial of a row, and no other.

    Hyperparameters that stood in brackets on the command line are set as they were then.
    """
    grids = tuple(name for name in chosen.grids if name in config.file.grids)[:1] or ("all",)
    *of_grid, method = chosen.selectors or (chosen.method,)
    noise = chosen.noise_multiplier
    assert chosen.clip is not None and chosen.epsilon is not None
    return Request(
        tuple(of_grid) or grids,
        chosen.dataset,
        epsilon=() if noise is not None else (chosen.epsilon,),
        noise_multiplier=() if noise is None else (noise,),
        clip=(chosen.clip,),
        seeds=(chosen.seed or 0,),
        protocols=(str(chosen.protocol["name"]),),
        methods=(method,),
        labels=(chosen.labels,),
        only=chosen.identity_key,
    )
