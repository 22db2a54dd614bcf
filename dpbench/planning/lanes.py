"""Which trials train together, as lanes of one task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dpbench.component import Component
from dpbench.stages import GeneratorTask, Lane
from dpbench.store import content_key

__all__ = ["MAX_LANES", "Candidate", "companies", "group_lanes", "groups"]

#: Lanes of one task; more only lengthens what a crash can cost.
MAX_LANES = 64


@dataclass(frozen=True)
class Candidate:
    """A lane to be trained, on which latents, and which parameters it may have for itself.

    ``classes`` are the private classes where it learns labels.
    """

    lane: Lane
    latents: str
    generator: Component
    lane_params: frozenset[str]
    classes: tuple[int, ...] = ()

    @property
    def company(self) -> str:
        """Name what must be equal among the lanes of one task.

        Private and non-private lanes are never together: what is computed once for
        all of them, without noise, would reach the private ones.
        """
        params = self.lane.params.items()
        shared = {name: value for name, value in params if name not in self.lane_params}
        labelled = [list(self.classes)] if self.classes else []
        return content_key(
            [self.latents, self.generator.plugin, shared, self.lane.private, *labelled]
        )


def companies(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Gather candidates that may train together, in their order."""
    found: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        found.setdefault(candidate.company, []).append(candidate)
    return list(found.values())


def groups(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Yield those that train as one task, at most :data:`MAX_LANES`, in their order."""
    for members in companies(candidates):
        for first in range(0, len(members), MAX_LANES):
            yield members[first : first + MAX_LANES]


def group_lanes(candidates: Iterable[Candidate], secure_rng: bool) -> list[GeneratorTask]:
    """Make one task of each group of candidates."""
    tasks = []
    for head, *others in groups(candidates):
        lanes = tuple(member.lane for member in (head, *others))
        tasks.append(GeneratorTask(head.latents, head.generator, lanes, secure_rng, head.classes))
    return tasks
