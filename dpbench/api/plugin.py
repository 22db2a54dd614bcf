"""What all kinds of plugin share: names, versions, hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Params", "Plugin"]


class Params(BaseModel):
    """Base of a plugin's hyperparameters: validated, immutable, unknown keys refused.

    >>> class MineParams(Params):
    ...     radius: float = 8.0
    >>> MineParams(radius=2).radius
    2.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Plugin:
    """What all plugin classes share.

    Attributes:
        kind: which of the kinds of plugin this is; set by the base classes.
        name: the name users type; unique per kind.
        version: part of every artifact's hash. Change it when results change.
        Params: the hyperparameters, with defaults, as a :class:`Params` subclass.
        cost: rough seconds of work on one core; the longest chains start first.
        check_params: hyperparameters under which ``dpbench check`` tries it: those that it
            needs, or that make it quick.
        expected_failures: promises that it does not keep, by the check's name, each with
            the reason.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = Params
    cost: ClassVar[float] = 30.0
    check_params: ClassVar[Mapping[str, Any]] = {}
    expected_failures: ClassVar[Mapping[str, str]] = {}
