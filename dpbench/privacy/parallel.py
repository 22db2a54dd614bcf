"""The ledger of several classes of records, each of which met mechanisms of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Ledger, Mechanism

__all__ = ["in_parallel"]


def in_parallel(ledgers: Sequence[Ledger]) -> Ledger:
    """Return the ledger of a record that is in one of the classes, whichever that is.

    Their mechanisms must agree in all that is accounted; sensitivities may differ, for
    noise is in proportion to them, and the largest stands for all.

    Raises:
        DpbenchError: two classes met different mechanisms.
    """
    classes = [_merged(ledger.mechanisms) for ledger in ledgers]
    longest = max(classes, key=len)
    for mechanisms in classes:
        if _terms(mechanisms) != _terms(longest[: len(mechanisms)]):
            raise DpbenchError(
                "classes met different mechanisms, which do not compose in parallel: choose noise "
                "and steps by the budget and the number of records alone"
            )
    whole = ledgers[0].model_copy(update={"mechanisms": [], "inclusions": []})
    for place, mechanism in enumerate(longest):
        largest = max(own[place].sensitivity for own in classes if place < len(own))
        whole.mechanisms.append(mechanism.model_copy(update={"sensitivity": largest}))
    for number, ledger in enumerate(ledgers):
        places = _places(ledger.mechanisms)
        whole.inclusions += [
            {**f, "mechanism": float(places[int(f["mechanism"])]), "class": float(number)}
            for f in ledger.inclusions
        ]
    return whole


def _accounted(mechanism: Mechanism) -> Mechanism:
    """Return all of a mechanism but how often it was used and how far a record moves it."""
    return mechanism.model_copy(update={"count": 1, "sensitivity": 1.0})


def _terms(mechanisms: Iterable[Mechanism]) -> list[tuple[Mechanism, int]]:
    return [(_accounted(mechanism), mechanism.count) for mechanism in mechanisms]


def _places(mechanisms: Sequence[Mechanism]) -> list[int]:
    """Return for each mechanism its place among :func:`_merged` ones."""
    places: list[int] = []
    for number, mechanism in enumerate(mechanisms):
        alike = number and _accounted(mechanism) == _accounted(mechanisms[number - 1])
        places.append(0 if not number else places[-1] + (not alike))
    return places


def _merged(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """Count consecutive mechanisms that are accounted alike as one."""
    found: list[Mechanism] = []
    for place, mechanism in zip(_places(mechanisms), mechanisms, strict=True):
        if place < len(found):
            last = found.pop()
            update = {
                "count": last.count + mechanism.count,
                "sensitivity": max(last.sensitivity, mechanism.sensitivity),
            }
            mechanism = last.model_copy(update=update)
        found.append(mechanism)
    return found
