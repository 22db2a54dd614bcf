"""``benchmarks.toml`` as validated objects; every violation in one report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dpbench.component import Component
from dpbench.errors import DpbenchError, UnknownName, did_you_mean
from dpbench.metrics.protocol import Protocol
from dpbench.plugins import Registry
from dpbench.results.identity import Labels

__all__ = ["Config", "ConfigFile", "GridConfig", "InvalidConfig", "load_config"]

FILE_NAME = "benchmarks.toml"
SECTIONS = {
    "datasets": "dataset",
    "public": "public",
    "extractors": "extractor",
    "generators": "generator",
    "metrics": "metric",
    "executors": "executor",
    "evaluators": "evaluator",
}
Epsilon = Annotated[float, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PluginTables = dict[str, dict[str, Any]]


def _listed(value: Any) -> Any:
    """Take ``labels = "private"`` for a list of one."""
    return [value] if isinstance(value, str) else value


class InvalidConfig(DpbenchError):
    """A configuration with violations; the message has one line for each."""


class InvalidParams(DpbenchError):
    """A plugin's hyperparameters are wrong; ``details`` says which and how."""

    def __init__(self, section: str, name: str, details: ValidationError) -> None:
        problems = "; ".join(
            f"{'.'.join(map(str, loc)) or name}: {message}" for loc, message in _explain(details)
        )
        super().__init__(f"[{section}.{name}] {problems}: set it in {FILE_NAME}")
        self.details = details


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latents(Strict):
    """How latents are standardised before a generator sees them, by public data alone."""

    standardise: Literal["whiten", "scale", "none"] = "whiten"
    public_images: int = Field(default=8000, ge=2, description="public images to extract from")
    augment: bool = Field(default=True, description="random affine maps of those images")


class Limits(Strict):
    """What one job may use; beyond ``seconds`` and ``memory_gib`` it is stopped (null: never).

    ``threads`` decides the last digits of what is computed, so it is a part of every key.
    """

    seconds: float | None = Field(default=None, gt=0)
    memory_gib: float | None = Field(default=None, gt=0)
    threads: int = Field(default=1, ge=1)


class GridConfig(Strict):
    """A named set of trials: the product of its axes over the methods that match.

    A grid that ``extends`` another has what that one has, but for what it says itself.
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
    public: PluginTables = {}
    extractors: PluginTables = {}
    generators: PluginTables = {}

    @property
    def overrides(self) -> bool:
        """Whether the grid changes hyperparameters and so needs a heading of its own."""
        changed = (self.public, self.extractors, self.generators, self.latents, self.axes)
        return any(changed)


class ConfigFile(Strict):
    """The file as it stands; plugin tables are checked against the registry later.

    ``select`` says which trial stands for a method at a target: the best by exact private
    ``scores`` (outside any finite epsilon), the ``first`` clip of its grid or the clip
    named here (rules that cost nothing), or the winner of a ``noisy`` count, paid for.
    """

    dataset: str = "mnist"
    delta: float = Field(default=1e-6, gt=0, lt=1)
    executor: str = "local"
    default_protocols: list[str] = Field(default=["default"], min_length=1)
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

    def public_data(self, dataset: str) -> str | None:
        """Return the data set whose images are the public part of ``dataset``, if not its own."""
        return self.file.datasets.get(dataset, {}).get("public")

    def component(self, section: str, name: str, *overrides: dict[str, Any]) -> Component:
        """Resolve a name to its plugin and full hyperparameters.

        Raises:
            UnknownName: the plugin is not registered.
            InvalidParams: a hyperparameter is wrong.
        """
        table: dict[str, Any] = dict(getattr(self.file, section).get(name, {}))
        for override in overrides:
            table |= override
        plugin = table.pop("plugin", name)
        if section == "datasets":
            table.pop("public", None)  # of the harness, not of the plugin: public_data
        cls = self.registry.get(SECTIONS[section], plugin).cls
        try:
            params = cls.Params.model_validate(table).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidParams(section, name, error) from error
        return Component(SECTIONS[section], name, plugin, params)


def load_config(path: Path | None, registry: Registry) -> Config:
    """Read and validate a configuration.

    ``path`` defaults to ``benchmarks.toml`` in the working directory, else to
    the one that comes with the package.

    Raises:
        InvalidConfig: with one line per violation and its place in the file.
    """
    text, source = _read(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{source} is not valid TOML: {error}") from error
    try:
        file = ConfigFile.model_validate(_extend_grids(_name_protocols(raw)))
    except ValidationError as error:
        raise _report(source, text, list(_explain(error))) from error
    config = Config(file, registry, source)
    violations = list(_violations(config))
    if violations:
        raise _report(source, text, violations)
    return config


def _read(path: Path | None) -> tuple[str, str]:
    if path is None:
        local = Path(FILE_NAME)
        if not local.exists():
            packaged = resources.files("dpbench") / FILE_NAME
            if not packaged.is_file():  # an editable install: the file is beside the package
                packaged = Path(__file__).parents[2] / FILE_NAME
            return packaged.read_text(encoding="utf-8"), f"{FILE_NAME} (packaged)"
        path = local
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"cannot read {path}: {error}; name another with --config") from error


def _name_protocols(raw: dict[str, Any]) -> dict[str, Any]:
    """A protocol's name is its table's; nobody should have to write it twice."""
    tables = raw.get("protocols")
    if not isinstance(tables, dict):
        return raw
    named = {
        name: {"name": name, **table} if isinstance(table, dict) else table
        for name, table in tables.items()
    }
    return {**raw, "protocols": named}


def _extend_grids(raw: dict[str, Any]) -> dict[str, Any]:
    """Write out grids that extend others, one level deep."""
    grids = raw.get("grids")
    if not isinstance(grids, dict):
        return raw
    full = {}
    for name, grid in grids.items():
        base = grids.get(grid.get("extends")) if isinstance(grid, dict) else None
        full[name] = _merge(base, grid) if isinstance(base, dict) else grid
    return {**raw, "grids": full}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` on top, tables merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


Violation = tuple[tuple[str | int, ...], str]


def _explain(error: ValidationError, at: tuple[str | int, ...] = ()) -> Iterator[Violation]:
    for detail in error.errors(include_url=False):
        silent = detail["type"] in ("missing", "extra_forbidden")
        got = "" if silent else f", got {detail['input']!r}"
        message = detail["msg"][0].lower() + detail["msg"][1:]
        yield (*at, *detail["loc"]), f"{message}{got}"


def _violations(config: Config) -> Iterator[Violation]:
    """Check everything that needs the registry or two places of the file at once."""
    file = config.file
    for section in SECTIONS:
        for name in getattr(file, section):
            yield from _component_violations(config, section, name, {}, (section, name))
    for name in file.datasets:
        yield from _public_violations(config, name)
    yield from _unknown(file.dataset, config.names("datasets"), ("dataset",))
    yield from _unknown(file.executor, config.names("executors"), ("executor",))
    for index, protocol in enumerate(file.default_protocols):
        yield from _unknown(protocol, file.protocols, ("default_protocols", index))
    for name, table in file.protocols.items():
        at = ("protocols", name, "evaluator")
        yield from _unknown(table.evaluator, config.names("evaluators"), at)
        for index, metric in enumerate(table.metrics):
            yield from _unknown(
                metric, config.names("metrics"), ("protocols", name, "metrics", index)
            )
    for name, grid in file.grids.items():
        yield from _grid_violations(config, name, grid)


def _public_violations(config: Config, dataset: str) -> Iterator[Violation]:
    public, at = config.public_data(dataset), ("datasets", dataset, "public")
    if public is None:
        return
    yield from _unknown(public, config.names("datasets"), at)
    if config.public_data(public) is not None:
        yield at, f"{public!r} has another's public images itself: name one with images of its own"


def _grid_violations(config: Config, name: str, grid: GridConfig) -> Iterator[Violation]:
    at = ("grids", name)
    if grid.extends is not None:
        yield from _unknown(grid.extends, config.file.grids, (*at, "extends"))
    if not (grid.epsilon or grid.noise_multiplier):
        yield (*at, "epsilon"), "give at least one epsilon or noise_multiplier"
    if grid.dataset is not None:
        yield from _unknown(grid.dataset, config.names("datasets"), (*at, "dataset"))
    for index, protocol in enumerate(grid.protocols or ()):
        yield from _unknown(protocol, config.file.protocols, (*at, "protocols", index))
    for section in ("public", "extractors", "generators"):
        for component, table in getattr(grid, section).items():
            yield from _component_violations(
                config, section, component, table, (*at, section, component)
            )
    for axis, values in grid.axes.items():
        parts = axis.split(".")
        if len(parts) != 3 or parts[0] not in ("public", "extractors", "generators"):
            yield (*at, "axes", axis), "name an axis as generators.<name>.<hyperparameter>"
            continue
        section, component, key = parts
        base = getattr(grid, section).get(component, {})
        for value in values:
            yield from _component_violations(
                config, section, component, {**base, key: value}, (*at, "axes", axis)
            )


def _component_violations(
    config: Config, section: str, name: str, override: dict[str, Any], at: tuple[str | int, ...]
) -> Iterator[Violation]:
    try:
        config.component(section, name, override)
    except InvalidParams as error:
        yield from _explain(error.details, at)
    except DpbenchError as error:
        yield at, str(error)


def _unknown(name: str, known: Any, at: tuple[str | int, ...]) -> Iterator[Violation]:
    if name not in known:
        yield at, f"unknown name {name!r}{did_you_mean(name, known)}"


def _report(source: str, text: str, violations: list[Violation]) -> InvalidConfig:
    lines = [f"{source} has {len(violations)} violation{'s' if len(violations) > 1 else ''}:"]
    for loc, message in violations:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
        line = _line_of(text, loc)
        lines.append(f"  line {line}, {place}: {message}" if line else f"  {place}: {message}")
    return InvalidConfig("\n".join(lines))


def _line_of(text: str, loc: tuple[str | int, ...]) -> int | None:
    """Find the line of the deepest part of ``loc`` that the file spells out."""
    path = [part for part in loc if isinstance(part, str)]
    best: tuple[int, int] | None = None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+([^\]]+)\]+", line)
        key = re.match(r"\s*([\w\".-]+)\s*=", line)
        if header:
            here = table = _dotted(header[1])
        elif key:
            here = [*table, *_dotted(key[1])]
        else:
            continue
        depth = len(here)
        if here == path[:depth] and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None


def _dotted(key: str) -> list[str]:
    """Split a TOML key at the dots outside its quotes."""
    return [part.strip().strip('"') for part in re.findall(r'"[^"]+"|[^.]+', key)]
