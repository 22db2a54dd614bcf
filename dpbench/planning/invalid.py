"""What is refused of a configuration or of hyperparameters, in sentences."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from dpbench.errors import DpbenchError, did_you_mean

__all__ = ["InvalidConfig", "InvalidParams", "Place", "Violation", "explain"]

Place = tuple[str | int, ...]
Violation = tuple[Place, str]
#: Characters of a wrong value that are shown.
SHOWN = 200


class InvalidConfig(DpbenchError):
    """A configuration with violations; the message has one line for each."""


class InvalidParams(DpbenchError):
    """A plugin's hyperparameters are wrong; ``details`` says where and how."""

    def __init__(
        self, section: str, name: str, model: type[BaseModel], error: ValidationError
    ) -> None:
        self.details = list(explain(error, model))
        problems = "; ".join(
            f"{'.'.join(map(str, place)) or name}: {message}" for place, message in self.details
        )
        super().__init__(f"[{section}.{name}] {problems} (set it in benchmarks.toml or --method)")


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Violation]:
    """Yield place and message of everything that ``model`` refused."""
    for detail in error.errors(include_url=False):
        silent = detail["type"] in ("missing", "extra_forbidden")
        got = "" if silent else f", got {_short(detail['input'])}"
        message = detail["msg"][0].lower() + detail["msg"][1:]
        if detail["type"] == "extra_forbidden":
            *above, key = detail["loc"]
            message = f"unknown key {key!r}{did_you_mean(str(key), _keys(model, above))}"
        yield detail["loc"], f"{message}{got}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, a number of too many digits
        return "something that cannot be shown"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _keys(model: Any, place: Iterable[str | int]) -> list[str]:
    """Return the keys that a table at ``place`` may have."""
    for part in place:
        if _is_model(model):
            field = model.model_fields.get(part)
            model = field.annotation if field else None
        else:  # a table of tables, or a list of them
            model = (typing.get_args(model) or (None,))[-1]
        if typing.get_origin(model) in (typing.Union, types.UnionType):  # or none at all
            model = typing.get_args(model)[0]
    return list(model.model_fields) if _is_model(model) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
