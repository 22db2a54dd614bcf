"""Which artifacts of a plan are there, and which of those are to be made anew."""

from __future__ import annotations

from dpbench.planning.plan import Plan
from dpbench.store import ArtifactId, Store

__all__ = ["Finder"]


class Finder:
    """Looks for each artifact once, and notes in a plan what it saw; changes nothing."""

    def __init__(self, store: Store, plan: Plan, fresh: bool) -> None:
        self._store, self._plan, self._fresh = store, plan, fresh
        self._known: dict[ArtifactId, bool] = {}

    def __call__(self, stage: str, key: str) -> bool:
        """Say whether an artifact can be used; one that is damaged or outdated cannot."""
        slot = ArtifactId(stage, key)
        if slot not in self._known:
            self._known[slot] = self._look(slot)
        return self._known[slot]

    def _look(self, slot: ArtifactId) -> bool:
        if not self._store.has(*slot):
            return False
        plan = self._plan
        if self._fresh:
            plan.stale.append(slot)
            return False
        if not self._store.check(*slot):
            plan.corrupt.append(slot)
            plan.stale.append(slot)
            return False
        if self._is_outdated(slot):
            plan.outdated.append(slot)
            plan.stale.append(slot)
            return False
        plan.cached[slot.stage] = plan.cached.get(slot.stage, 0) + 1
        return True

    def _is_outdated(self, slot: ArtifactId) -> bool:
        """Say whether an artifact was made of another one than there is now, or soon will be."""
        inputs = self._store.made_of(*slot)
        return not inputs.keys().isdisjoint(self._plan.outdated) or bool(
            self._store.outdated(*slot)
        )
