"""What ``dpbench data`` tells about a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpbench.errors import DpbenchError

if TYPE_CHECKING:
    from dpbench.api import Dataset

__all__ = ["describe"]


def describe(dataset: Dataset, cache: Path, *, fetch: bool = False) -> dict[str, Any]:
    """Return what is known of ``dataset`` as plain, JSON-ready values.

    Keys: ``name``; ``cached`` (:meth:`Dataset.load` needs no network); ``source``
    (where the bytes came from); ``path``; ``sizes`` of the parts ``labelling``,
    ``public``, ``private``, ``test``; ``image_shape`` ``[C, H, W]``; ``classes``
    (number, name where there is one, images in the four parts together);
    ``private_classes``. What takes the images themselves is ``None`` while they
    are not cached. ``source`` and ``path`` are empty for a plugin's data set
    that has no methods ``origin`` and ``location``.

    Args:
        fetch: obtain the images when they are not cached.

    Raises:
        DpbenchError: the data cannot be obtained, read or divided.
    """
    try:
        partition = dataset.load(cache) if fetch or dataset.is_cached(cache) else None
    except OSError as error:
        raise DpbenchError(f"data set {dataset.name!r} cannot be read: {error}") from error
    facts: dict[str, Any] = {
        "name": dataset.name,
        "cached": partition is not None,
        "source": _ask(dataset, "origin", cache),
        "path": _ask(dataset, "location", cache),
        "sizes": None,
        "image_shape": None,
        "classes": None,
        "private_classes": None,
    }
    if partition is None:
        return facts
    parts = {n: getattr(partition, n) for n in ("labelling", "public", "private", "test")}
    names = getattr(dataset, "class_names", ())
    counts: dict[int, int] = {}
    for part in parts.values():
        labels, how_many = part.labels.unique(return_counts=True)
        for label, count in zip(labels.tolist(), how_many.tolist(), strict=True):
            counts[label] = counts.get(label, 0) + count
    facts["sizes"] = {name: len(part) for name, part in parts.items()}
    facts["image_shape"] = list(partition.image_shape)
    facts["classes"] = [
        {"label": n, "name": names[n] if n < len(names) else str(n), "images": counts[n]}
        for n in sorted(counts)
    ]
    facts["private_classes"] = list(partition.private_classes)
    return facts


def _ask(dataset: Dataset, method: str, cache: Path) -> str:
    answer = getattr(dataset, method, None)
    return str(answer(cache)) if answer is not None else ""
