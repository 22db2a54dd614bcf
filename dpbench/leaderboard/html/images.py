"""Grids of samples as pictures inside the page, all of them within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dpbench.leaderboard import pictures
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import absence
from dpbench.store import Store

__all__ = ["Embedded", "Gallery", "gallery", "share_budget"]

#: Of all pictures of a page together, before base64 makes four bytes of three.
BUDGET = 3_600_000
COLUMNS = 5
SHOWN = 10
PAIRS = 16


@dataclass(frozen=True)
class Embedded:
    """A picture with what it shows, and its size as it is meant to be seen."""

    pixels: Any
    alt: str
    title: str = ""
    note: str = ""

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


@dataclass
class Gallery:
    """The pictures of a section.

    Attributes:
        samples: by method, by target; text where there are none.
        private: reconstructions and nearest neighbours, which show private images.
    """

    targets: Sequence[str]
    real: Embedded | None
    samples: dict[str, list[Embedded | str]]
    reconstructions: list[Embedded]
    training: list[Embedded]
    neighbours: list[Embedded]

    @property
    def private(self) -> bool:
        """Some picture shows private images."""
        return bool(self.reconstructions or self.neighbours)

    def all(self) -> Iterator[Embedded]:
        rows = (cell for row in self.samples.values() for cell in row)
        yield from (cell for cell in rows if isinstance(cell, Embedded))
        yield from filter(None, (self.real,))
        yield from (*self.reconstructions, *self.training, *self.neighbours)


def gallery(section: Section, store: Store | None) -> Gallery:
    """Gather what a section has to show; of a release, nothing that shows private images."""
    targets = [section.target_text(target) for target in section.targets]
    if store is None:
        return Gallery(targets, None, {}, [], [], [])
    open_ = not section.secure
    return Gallery(
        targets,
        _real(section, store) if open_ else None,
        _samples(section, store),
        list(_reconstructions(section, store)) if open_ else [],
        list(_training(section, store)),
        list(_neighbours(section, store)) if open_ else [],
    )


def share_budget(galleries: Sequence[Gallery]) -> dict[int, str]:
    """Return the data URI of every picture by ``id``, within :data:`BUDGET` bytes together."""
    found = [embedded for one in galleries for embedded in one.all()]
    limit = BUDGET // max(len(found), 1)
    return {id(embedded): _uri(embedded.pixels, limit) for embedded in found}


def _uri(pixels: Any, limit: int) -> str:
    """Encode as PNG; where that is too large as JPEG, and smaller until it fits."""
    image = Image.fromarray(pixels)
    data, kind = _encoded(image, "PNG", optimize=True), "png"
    while len(data) > limit and min(image.size) > 16:
        data, kind = _encoded(image, "JPEG", quality=75), "jpeg"
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _real(section: Section, store: Store) -> Embedded | None:
    images = pictures.control_preview(section, store, "real")
    if images is None:
        return None
    said = "real held-out images"
    return Embedded(pictures.mosaic(images[: 2 * SHOWN], SHOWN), said, said)


def _samples(section: Section, store: Store) -> dict[str, list[Embedded | str]]:
    rows: dict[str, list[Embedded | str]] = {}
    for method in section.by_rank():
        cells: list[Embedded | str] = []
        for target in section.targets:
            best = section.chosen(method, target)
            images = pictures.preview(store, best.first) if best else None
            if best is None or images is None:
                cells.append(absence(section, method, target))
                continue
            alt = f"{min(SHOWN, len(images))} samples of {method} at {section.target_text(target)}"
            note = pictures.score_text(section, best)
            cells.append(Embedded(pictures.mosaic(images[:SHOWN], COLUMNS), alt, note=note))
        rows[method] = cells
    return rows if any(isinstance(c, Embedded) for row in rows.values() for c in row) else {}


def _reconstructions(section: Section, store: Store) -> Iterator[Embedded]:
    for through, shown, decoded, error in pictures.reconstructed(section, store):
        count = min(PAIRS, len(shown))
        pixels = np.concatenate([pictures.mosaic(part[:count], count) for part in (shown, decoded)])
        alt = f"{count} private images above their reconstructions by {through}"
        yield Embedded(pixels, alt, through, error)


def _training(section: Section, store: Store) -> Iterator[Embedded]:
    for method in section.by_rank():
        found = next(pictures.snapshots(section, store, method), None)
        if found is None:
            continue
        target, images, steps = found
        pixels = pictures.mosaic(images.flatten(0, 1), images.shape[1])
        said = ", ".join(map(str, steps))
        alt = f"samples of {method} at {target} after steps {said}, from top to bottom"
        yield Embedded(pixels, alt, f"{method}, {target}", f"steps {said}")


def _neighbours(section: Section, store: Store) -> Iterator[Embedded]:
    for method in section.by_rank():
        found = next(pictures.neighbours(section, store, method), None)
        if found is not None:
            target, picture = found
            pixels = picture.permute(1, 2, 0).numpy()
            pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
            alt = f"samples of {method} at {target}, each left of the private images nearest to it"
            yield Embedded(np.ascontiguousarray(pixels), alt, f"{method}, {target}")
