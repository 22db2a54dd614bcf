"""What a run reads from outside: data sets and evaluator weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import platformdirs

from dpbench.api import Dataset, Partition, Weights
from dpbench.component import Component
from dpbench.datasets.cross import CrossData
from dpbench.errors import DpbenchError
from dpbench.metrics.protocol import LABELLER
from dpbench.planning.config import Config
from dpbench.planning.plan import Options
from dpbench.planning.trials import Trial

__all__ = ["cache_directory", "load_dataset", "make_dataset", "released", "with_weights"]


def cache_directory() -> Path:
    """Where data sets and evaluator weights are kept, for all runs of this user."""
    return Path(platformdirs.user_cache_dir("dpbench"))


def make_dataset(config: Config, component: Component) -> Dataset:
    """Instantiate a configured data set, with the public images of another where it says so."""
    dataset = _own(config, component)
    public = config.public_data(component.name)
    if public is None:
        return dataset
    return CrossData(dataset, _own(config, config.component("datasets", public)))


def _own(config: Config, component: Component) -> Dataset:
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
    """Find released weights before anything is trained: of evaluators needed, and of those given.

    Raises:
        DpbenchError: weights cannot be had, or are not the released ones.
    """
    protocols = {name for trial in trials for name in trial.protocols}
    needed = {config.file.protocols[name].evaluator for name in protocols}
    found = {
        name: weights
        for name in sorted({LABELLER, *needed, *options.weights})
        if (weights := released(config, name, options)) is not None
    }
    return replace(options, released=found)


def released(config: Config, name: str, options: Options) -> Weights | None:
    """Find an evaluator's released weights, fetching them where need be; ``None`` if it has none.

    Raises:
        DpbenchError: they cannot be had, or are not the released ones.
    """
    component = config.component("evaluators", name)
    cls = config.registry.get("evaluator", component.plugin).cls
    params = cls.Params.model_validate(component.params)
    try:
        found = cls.weights(params, options.weights.get(component.plugin), cache_directory())
    except OSError as error:
        raise DpbenchError(f"weights of evaluator {name!r} cannot be read: {error}") from error
    return None if found is None else Weights(found.path.absolute(), found.sha256)
