"""What a plugin class must be, checked when it is registered."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from dpbench.api.metric import Column
from dpbench.api.plugin import Params, Plugin
from dpbench.api.public_model import Capability

__all__ = ["class_problems"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def class_problems(cls: Any, base: type[Plugin]) -> Iterator[str]:
    """Yield every reason why ``cls`` cannot be registered as a ``base``."""
    label = getattr(cls, "__qualname__", repr(cls))
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        yield f"{label} is not a subclass of dpbench.api.{base.__name__}"
        return
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        yield f"{label} does not implement {', '.join(missing)}"
    for attribute, check in ATTRIBUTES.items():
        required = attribute in (*ALWAYS, *REQUIRED.get(base.kind, ()))
        if hasattr(cls, attribute):
            if problem := check(getattr(cls, attribute)):
                yield f"{label}.{attribute} {problem}"
        elif required:
            yield f"{label} lacks the class attribute `{attribute}`"
    yield from _lane_params(cls, label)
    yield from _label_of(cls, label)
    yield from _conditional(cls, label)
    yield from _halves(cls, base, label)
    for name in sorted({*getattr(base, "__abstractmethods__", ()), *_written(cls, base)}):
        if name not in missing and (problem := _signature(cls, base, name)):
            yield f"{label}.{name} {problem}"


def _name(value: Any) -> str | None:
    if isinstance(value, str) and NAME.fullmatch(value):
        return None
    return f"is {value!r}: use letters, digits and -_.+"


def _label(value: Any) -> str | None:
    return None if value == "" else _name(value)


def _cost(value: Any) -> str | None:
    numeric = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return None if numeric else f"is {value!r}: give a positive number of seconds"


def _capabilities(value: Any) -> str | None:
    known = get_args(Capability)
    if isinstance(value, frozenset) and value <= set(known):
        return None
    return f"is {value!r}: give a frozenset of {', '.join(known)}"


def _standardise(value: Any) -> str | None:
    known = (None, "whiten", "scale", "none")
    return None if value in known else f"is {value!r}: give 'whiten', 'scale', 'none' or None"


def _columns(value: Any) -> str | None:
    fine = isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(column, Column) for name, column in value.items()
    )
    if not fine or not value:
        return "is not a dict of dpbench.api.Column by name"
    faults = [f"{name}: {fault}" for name, column in value.items() if (fault := _column(column))]
    return f"has faults: {', '.join(faults)}" if faults else None


def _column(column: Column) -> str | None:
    if column.better not in ("higher", "lower", "none"):
        return "better is 'higher', 'lower' or 'none'"
    if not column.low <= column.high:
        return "low is above high"
    if type(column.digits) is not int or column.digits < 0:
        return "digits is a number of decimals"
    plain = isinstance(column.title, str) and column.title.isprintable()
    return None if plain and not set(column.title) & set("<>|`") else "title is one plain line"


def _params(value: Any) -> str | None:
    fine = inspect.isclass(value) and issubclass(value, Params)
    return None if fine else "is not a subclass of dpbench.api.Params"


def _check_params(value: Any) -> str | None:
    fine = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return None if fine else "is not a dict of hyperparameters"


def _expected(value: Any) -> str | None:
    fine = isinstance(value, Mapping) and all(
        isinstance(part, str) and part.strip() for pair in value.items() for part in pair
    )
    return None if fine else "is not a dict of reasons by the name of a check"


#: How each class attribute is checked, in the order in which faults are told.
ATTRIBUTES: dict[str, Callable[[Any], str | None]] = {
    "name": _name,
    "label": _label,
    "provides": _capabilities,
    "requires": _capabilities,
    "standardise": _standardise,
    "columns": _columns,
    "version": _name,
    "cost": _cost,
    "Params": _params,
    "check_params": _check_params,
    "expected_failures": _expected,
}
ALWAYS = ("name",)
REQUIRED = {
    "public": ("provides",),
    "extractor": ("requires", "label"),
    "generator": ("label",),
    "metric": ("columns",),
}
#: Groups of methods of which a class implements exactly one.
EITHER = {"evaluator": (("fit", "state", "restore"), ("weights", "load"))}


def _lane_params(cls: Any, label: str) -> Iterator[str]:
    lanes: Any = getattr(cls, "lane_params", frozenset())
    known = getattr(getattr(cls, "Params", None), "model_fields", {})
    if not isinstance(lanes, frozenset) or not lanes <= set(known):
        yield f"{label}.lane_params is {lanes!r}: give a frozenset of hyperparameters' names"


def _conditional(cls: Any, label: str) -> Iterator[str]:
    wanted: Any = getattr(cls, "conditional", False)
    if not isinstance(wanted, bool):
        yield f"{label}.conditional is {wanted!r}: give True or False"
    elif wanted:
        for method, argument in (("__init__", "classes"), ("sample", "labels")):
            parameters = inspect.signature(getattr(cls, method)).parameters
            if argument not in parameters:
                yield f"{label}.{method} does not take {argument}, which conditional = True needs"


def _label_of(cls: Any, label: str) -> Iterator[str]:
    """Look at the label under default hyperparameters, where there are such."""
    if not hasattr(cls, "label_of"):
        return
    try:
        found = cls.label_of(cls.Params())
    except Exception:  # no defaults, or another fault, which is told by itself
        return
    if found != cls.label and (problem := _name(found)):
        yield f"{label}.label_of gives what {problem}"


def _written(cls: Any, base: type[Plugin]) -> set[str]:
    """Return which of the methods that a kind offers as alternatives ``cls`` implements."""
    methods = (name for group in EITHER.get(base.kind, ()) for name in group)
    static = inspect.getattr_static
    return {name for name in methods if static(cls, name) is not static(base, name)}


def _halves(cls: Any, base: type[Plugin], label: str) -> Iterator[str]:
    groups = EITHER.get(base.kind, ())
    if groups and _written(cls, base) not in map(set, groups):
        choices = ", or ".join(" and ".join(group) for group in groups)
        yield f"{label} must implement either {choices}"


def _signature(cls: Any, base: type[Plugin], name: str) -> str | None:
    """Say whether a method cannot be called the way the harness calls the base's."""
    wanted = inspect.getattr_static(base, name)
    if isinstance(wanted, property):
        return None
    if isinstance(wanted, classmethod):
        wanted = getattr(base, name)
    found = getattr(cls, name)
    if not callable(found):
        return "is not a method"
    parameters = inspect.signature(wanted).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    try:
        inspect.signature(found).bind(*positional)
    except TypeError:
        return f"does not take ({', '.join(p.name for p in positional)})"
    except ValueError:  # written in C, which does not tell
        return None
    return None
