"""What a run reads from outside: data sets and evaluator weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import platformdirs

from dpbench.api import Dataset, Partition
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators.weights import inception_weights_file
from dpbench.planning.config import Config
from dpbench.planning.plan import Options
from dpbench.planning.trials import Trial

__all__ = ["cache_directory", "load_dataset", "make_dataset", "with_weights"]


def cache_directory() -> Path:
    """Where data sets and evaluator weights are kept, for all runs of this user."""
    return Path(platformdirs.user_cache_dir("dpbench"))


def make_dataset(config: Config, component: Component) -> Dataset:
    """Instantiate a configured data set."""
    cls = config.registry.get("dataset", component.plugin).cls
    dataset: Dataset = cls(cls.Params.model_validate(component.params))
    return dataset


def load_dataset(config: Config, component: Component) -> Partition:
    """Load a data set, fetching it where need be, and check that every part is there.

    Raises:
        DpbenchError: it cannot be read, or a part of it holds no image.
    """
    try:
        partition = make_dataset(config, component).load(cache_directory())
    except OSError as error:
        raise DpbenchError(f"dataset {component.name!r} cannot be loaded: {error}") from error
    for part in ("labelling", "public", "private", "test"):
        if not len(getattr(partition, part)):
            raise DpbenchError(
                f"dataset {component.name!r} has no {part} images: change its partition rule"
            )
    return partition


def with_weights(config: Config, trials: list[Trial], options: Options) -> Options:
    """Find Inception's weights before anything is trained, where a protocol needs them."""
    named = {name for trial in trials for name in trial.protocols}
    needed = any(config.file.protocols[name].evaluator == "inception" for name in named)
    if not needed and options.inception_weights is None:
        return options
    given = Path(options.inception_weights) if options.inception_weights else None
    path, sha256 = inception_weights_file(given, cache_directory())
    return replace(options, inception_weights=str(path.absolute()), inception_sha256=sha256)
