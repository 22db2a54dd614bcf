"""Letters rendered from fonts: public images that need no download and no licence."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Dataset, LabelledImages, Partition, to_uint8
from dpbench.datasets.procedural import ProceduralParams, warp
from dpbench.datasets.rule import partition
from dpbench.errors import DpbenchError

__all__ = ["Glyphs", "GlyphsParams", "NoFonts", "usable_fonts"]

#: Side of the canvas on which a letter's outline is kept.
CANVAS = 64
#: Longest side of a letter on that canvas.
LETTER = 44
#: Fonts that show symbols, or the name of a script, where others have letters.
SYMBOLS = ("cmex10.ttf", "cmsy10.ttf", "LastResortHE-Regular.ttf")


class NoFonts(DpbenchError):
    """No font has the characters that are asked for."""


class GlyphsParams(ProceduralParams):
    """What is rendered and how far it is distorted.

    Attributes:
        characters: those to render, each a class of its own, in this order.
        fonts: font files (TrueType or OpenType); by default all that come with
            matplotlib and have the characters.
        stroke: bounds of what is added to a stroke's half width, in pixels of a 28-pixel image.
        rotation: largest angle, both ways, in radians.
        shear: largest slant, both ways.
        stretch: largest logarithm of the scale of each axis, both ways.
        shift: largest move along each axis, both ways, as a share of half the image.
        elastic: standard deviation of a smooth random displacement, in the unit of ``shift``.
    """

    characters: str = Field(default=string.ascii_letters, min_length=2)
    fonts: tuple[Path, ...] = ()
    stroke: tuple[float, float] = (-0.5, 0.9)
    rotation: float = Field(default=0.3, ge=0)
    shear: float = Field(default=0.35, ge=0)
    stretch: float = Field(default=0.25, ge=0)
    shift: float = Field(default=0.06, ge=0)
    elastic: float = Field(default=0.05, ge=0)


class Glyphs(Dataset):
    """Characters from fonts, under random stroke widths, affine maps and elastic distortions.

    Deterministic under its seed, for the same fonts and version of FreeType.
    """

    name = "glyphs"
    Params = GlyphsParams
    params: GlyphsParams

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.params.characters)

    def load(self, cache: Path) -> Partition:
        train = self._render(self.params.images)
        return partition(train, None, self.params.partition, self.class_names)

    def _render(self, count: int) -> LabelledImages:
        p = self.params
        rng = torch.Generator().manual_seed(p.seed)
        fonts = [path.expanduser() for path in p.fonts] or usable_fonts(p.characters)
        outlines = torch.stack([_distances(f, c) for f in fonts for c in p.characters])
        chosen = torch.randint(len(outlines), (count,), generator=rng)
        images = torch.cat([self._distort(outlines[part], rng) for part in chosen.split(1000)])
        shaded = images.repeat(1, p.channels, 1, 1) * p.tint(count, rng)
        return LabelledImages(to_uint8(shaded), chosen % len(p.characters))

    def _distort(self, outlines: Tensor, rng: torch.Generator) -> Tensor:
        """Render signed distances ``[N, 64, 64]`` as ``[N, 1, size, size]`` in [0, 1]."""
        p, count = self.params, len(outlines)
        grid = warp(count, p.size, rng, p.rotation, p.shear, p.stretch, p.shift, elastic=p.elastic)
        moved = F.grid_sample(
            outlines[:, None], grid, padding_mode="border", align_corners=False
        )  # a distance is smooth, so sampling it leaves edges sharp
        low, high = p.stroke
        width = low + (high - low) * torch.rand(count, 1, 1, 1, generator=rng)
        pixels = moved * 28 / CANVAS + width
        return (0.5 + pixels * p.size / 28).clamp(0, 1)


def usable_fonts(characters: str) -> list[Path]:
    """Return the fonts of matplotlib that have all ``characters``, sorted by name.

    Raises:
        NoFonts: none has them.
    """
    import matplotlib  # here, so that commands that render nothing start faster

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = sorted(path for path in folder.glob("*.ttf") if path.name not in SYMBOLS)
    found = [path for path in paths if _has(path, characters)]
    if not found:
        raise NoFonts(
            f"no font of matplotlib has all of {characters!r}: name others by the data set's fonts"
        )
    return found


def _has(path: Path, characters: str) -> bool:
    """Say whether a font has a glyph of its own for each character."""
    from matplotlib.ft2font import FT2Font

    known = FT2Font(str(path)).get_charmap()
    glyphs = {known.get(ord(character), 0) for character in characters}
    return 0 not in glyphs and len(glyphs) == len(set(characters))


def _distances(path: Path, character: str) -> Tensor:
    """Signed distance to a character's outline, ``[64, 64]``, in pixels, positive inside."""
    from scipy.ndimage import distance_transform_edt

    inside = _bitmap(path, character) > 127
    # Half a pixel, since the outline runs between the last pixel inside and the first outside.
    signed: np.ndarray[Any, Any] = np.where(
        inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside)
    )
    return torch.from_numpy(signed.astype(np.float32))


def _bitmap(path: Path, character: str) -> np.ndarray[Any, Any]:
    """Draw a character so that its longer side is ``LETTER``, centred on the canvas."""
    try:
        font = ImageFont.truetype(path, 120, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise NoFonts(f"cannot read font {path}: {error}; name a font file") from error
    left, top, right, bottom = map(int, font.getbbox(character))
    drawn = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(drawn).text((-left, -top), character, fill=255, font=font)
    scale = LETTER / max(drawn.size)
    width, height = (max(1, round(side * scale)) for side in drawn.size)
    canvas = Image.new("L", (CANVAS, CANVAS))
    place = ((CANVAS - width) // 2, (CANVAS - height) // 2)
    canvas.paste(drawn.resize((width, height), Image.Resampling.LANCZOS), place)
    return np.asarray(canvas)
