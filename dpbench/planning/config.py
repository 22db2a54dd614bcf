"""``benchmarks.toml`` as validated objects; every violation in one report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from dpbench.component import Component
from dpbench.errors import UnknownName, one_line
from dpbench.metrics.protocol import Protocol
from dpbench.planning.invalid import InvalidConfig, InvalidParams
from dpbench.planning.layers import read_layers
from dpbench.planning.valid import once, valid_part, without
from dpbench.planning.violations import method_violations, report, violations
from dpbench.results.identity import Labels, TrialIdentity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dpbench.plugins import Registry

__all__ = [
    "HARNESS",
    "Config",
    "ConfigFile",
    "GridConfig",
    "InvalidConfig",
    "load_config",
    "read_config",
    "unknown_parts",
]

SECTIONS = {
    "datasets": "dataset",
    "public": "public",
    "extractors": "extractor",
    "generators": "generator",
    "metrics": "metric",
    "executors": "executor",
    "evaluators": "evaluator",
}
_NAMED_TABLES = (*SECTIONS, "protocols", "grids")
#: What a data set's table says to the harness, and not to its plugin.
HARNESS = ("public", "sharpen")
Epsilon = Annotated[float, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Named = Annotated[list[str], Field(min_length=1)]
PluginTables = dict[str, dict[str, Any]]


def _listed(value: Any) -> Any:
    """Take ``labels = "private"`` for a list of one."""
    return [value] if isinstance(value, str) else value


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latents(Strict):
    """How latents are standardised before a generator sees them, by public data alone.

    Attributes:
        standardise: ``whiten``: to mean 0 and the identity as covariance; ``scale``: to mean 0
            and an average variance of 1; ``none``: as they are.
    """

    standardise: Literal["whiten", "scale", "none"] = "whiten"
    public_images: int = Field(default=8000, ge=2, description="public images to extract from")
    augment: bool = Field(default=True, description="random affine maps of those images")


class Limits(Strict):
    """What one job may use; one that goes beyond its time or memory is stopped.

    Attributes:
        seconds: time of one job; not set: no limit.
        memory_gib: memory of one job; not set: 80% of its machine's.
        threads: of one job. They decide the last digits of what is computed, and are a
            part of every key.
    """

    seconds: float | None = Field(default=None, gt=0)
    memory_gib: float | None = Field(default=None, gt=0)
    threads: int = Field(default=1, ge=1)


class GridConfig(Strict):
    """A named set of trials: the product of its axes over the methods that match.

    Attributes:
        extends: a grid of which this one has everything that it does not say itself.
        methods: names, globs or components, with hyperparameters in brackets.
        dataset: a configured data set; not set: the file's.
        epsilon: targets, each with delta; ``inf`` is the non-private row.
        noise_multiplier: noise in place of a target; epsilon is then what it comes to.
        clip: norms to which what a record contributes is clipped.
        seeds: of the private stage; figures of one trial are averaged over them.
        labels: whether labels are a part of private records.
        delta: not set: the file's.
        protocols: ways to score; not set: the file's ``default_protocols``.
        axes: lists of values by hyperparameter, ``"generators.vae.hidden" = [[64], [128]]``.
        latents: how latents are standardised; not set: the file's.
        sharpen: sharpen decoded images to the detail of public images, unless the data set's
            table says not to.
        public: hyperparameters of public models in this grid alone, by name.
        extractors: the same of extractors.
        generators: the same of private generators.
    """

    extends: str | None = None
    methods: list[str] = Field(default=["*"], min_length=1)
    dataset: str | None = None
    epsilon: list[Epsilon] = []
    noise_multiplier: list[Positive] = []
    clip: list[Positive] = Field(min_length=1)
    seeds: list[int] = Field(default=[0], min_length=1)
    labels: Annotated[list[Labels], BeforeValidator(_listed), Field(min_length=1)] = ["none"]
    delta: float | None = Field(default=None, gt=0, lt=1)
    protocols: list[str] | None = Field(default=None, min_length=1)
    axes: dict[str, list[Any]] = {}
    latents: Latents | None = None
    sharpen: bool = True
    public: PluginTables = {}
    extractors: PluginTables = {}
    generators: PluginTables = {}


class ConfigFile(Strict):
    """The file as it stands; plugin tables are checked against the registry later.

    Attributes:
        packaged: lay the file over the one that comes with dpbench.
        dataset: of grids that name none.
        delta: of grids that give none; below 1/N.
        executor: where tasks run: ``local``, ``ray`` or a plugin's.
        default_protocols: of grids that name none; ``auto``: the default one, and
            ``canonical`` (Inception) where there is a GPU and the weights are to be had.
        secure_rng: noise and samples from the system's randomness, for releases.
        select: which trial stands for a method at a target: the best by exact private
            ``scores`` (outside any finite epsilon), the ``first`` clip of its grid or the
            clip given here (rules that cost nothing), or the winner of a ``noisy`` count,
            paid for.
        latents: how latents are standardised.
        limits: what one job may use.
    """

    packaged: bool = True
    dataset: str = "mnist"
    delta: float = Field(default=1e-6, gt=0, lt=1)
    executor: str = "local"
    default_protocols: Literal["auto"] | Named = ["default"]
    secure_rng: bool = False
    select: Literal["scores", "first", "noisy"] | Positive = "scores"
    latents: Latents = Latents()
    limits: Limits = Limits()
    datasets: PluginTables = {}
    public: PluginTables = {}
    extractors: PluginTables = {}
    generators: PluginTables = {}
    metrics: PluginTables = {}
    executors: PluginTables = {}
    evaluators: PluginTables = {}
    protocols: dict[str, Protocol] = {}
    grids: dict[str, GridConfig] = {}


@dataclass(frozen=True)
class Config:
    """A validated file together with the registry they were validated against."""

    file: ConfigFile
    registry: Registry
    source: str

    def names(self, section: str) -> list[str]:
        """Return all usable names of a section: configured ones and bare plugins."""
        configured = getattr(self.file, section)
        return sorted({*configured, *self.registry.classes[SECTIONS[section]]})

    @property
    def default_protocols(self) -> tuple[str, ...]:
        """Return the protocols of grids that name none; ``auto`` is the default one until asked."""
        named = self.file.default_protocols
        return ("default",) if named == "auto" else tuple(named)

    def with_metrics(self, names: list[str]) -> Config:
        """Return a copy in which every protocol also reports the metrics ``names``.

        Raises:
            UnknownName: a metric is neither configured nor registered.
        """
        for name in names:
            if name not in self.names("metrics"):
                raise UnknownName("metric", name, self.names("metrics"))
        protocols = {
            key: protocol.model_copy(
                update={"metrics": tuple(dict.fromkeys((*protocol.metrics, *names)))}
            )
            for key, protocol in self.file.protocols.items()
        }
        return replace(self, file=self.file.model_copy(update={"protocols": protocols}))

    def shared_column(self, metrics: Iterable[str]) -> str | None:
        """Say which two of ``metrics`` give the same figure, of which a row could hold but one."""
        givers: dict[str, str] = {}
        classes = self.registry.classes["metric"]
        for name in dict.fromkeys(metrics):
            plugin = str(self.file.metrics.get(name, {}).get("plugin", name))
            for column in classes[plugin].cls.columns if plugin in classes else ():
                if (other := givers.setdefault(column, name)) != name:
                    return (
                        f"{other!r} and {name!r} both give {column!r}: keep one of them, and the "
                        "other in a protocol of its own"
                    )
        return None

    def public_data(self, dataset: str) -> str | None:
        """Return the data set whose images are the public part of ``dataset``, if not its own."""
        return self.file.datasets.get(dataset, {}).get("public")

    def sharpens(self, dataset: str) -> bool:
        """Say whether images decoded for a data set may be sharpened; its table may forbid it."""
        allowed: bool = self.file.datasets.get(dataset, {}).get("sharpen", True)
        return allowed

    def component(self, section: str, name: str, *overrides: dict[str, Any]) -> Component:
        """Resolve a name to its plugin and full hyperparameters.

        Raises:
            UnknownName: the plugin is not registered.
            InvalidConfig: its name is no text, or its hyperparameters are no JSON.
            InvalidParams: a hyperparameter is wrong.
        """
        table: dict[str, Any] = dict(getattr(self.file, section).get(name, {}))
        for override in overrides:
            table |= override
        plugin = table.pop("plugin", name)
        if not isinstance(plugin, str):
            raise InvalidConfig(f"[{section}.{name}] plugin = {plugin!r}: write a plugin's name")
        if section == "datasets":
            for key in HARNESS:
                table.pop(key, None)
        cls = self.registry.get(SECTIONS[section], plugin).cls
        try:
            params = cls.Params.model_validate(table).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidParams(section, name, cls.Params, error) from error
        except PydanticSerializationError as error:
            raise InvalidConfig(
                f"[{section}.{name}] the hyperparameters of {plugin!r} are none that a file can "
                f"hold ({one_line(error)}): tell its author"
            ) from error
        return Component(SECTIONS[section], name, plugin, params)


def load_config(path: Path | None, registry: Registry) -> Config:
    """Read and validate a configuration, laid over the one that comes with the package.

    ``path`` defaults to ``benchmarks.toml`` in the working directory.

    Raises:
        InvalidConfig: with one line per violation and its place in the file.
    """
    layers = read_layers(path)
    tables, found = valid_part(ConfigFile, layers.tables, _NAMED_TABLES)
    if tables is not None:
        config = Config(ConfigFile.model_validate(tables), registry, layers.source)
        more = list(violations(config))
        rest = without(tables, [place for place, _ in more])
        file = ConfigFile.model_validate(rest)
        more += method_violations(replace(config, file=file))
        found += more
    if tables is None or found:
        raise report(layers.source, layers.text, once(layers, found))
    return config


def read_config(path: Path | None) -> ConfigFile:
    """Read a configuration as :func:`load_config` does, whatever plugins it names.

    Raises:
        InvalidConfig: with one line per violation and its place in the file.
    """
    layers = read_layers(path)
    tables, found = valid_part(ConfigFile, layers.tables, _NAMED_TABLES)
    if tables is None or found:
        raise report(layers.source, layers.text, once(layers, found))
    return ConfigFile.model_validate(tables)


def unknown_parts(
    file: ConfigFile, plugins: Mapping[str, Collection[str]], result: TrialIdentity
) -> list[str]:
    """Return the parts of a row's method that none of ``plugins``, by kind, stands for."""
    parts = {"public": result.public, "extractors": result.extractor,
             "generators": result.generator}  # fmt: skip
    tables = (file, *file.grids.values())
    return [
        f"{SECTIONS[section]} {name!r}"
        for section, name in parts.items()
        if name
        and name not in plugins[SECTIONS[section]]
        and not any(name in getattr(table, section) for table in tables)
    ]
