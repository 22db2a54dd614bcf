"""Pictures in a terminal: by its own protocol where it has one, else by half blocks."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["PROTOCOLS", "inline", "protocol_of"]

PROTOCOLS = ("kitty", "iterm", "sixel", "blocks")
CHUNK = 4096
GREYS = 16


def protocol_of(environment: Mapping[str, str] = os.environ) -> str:
    """Return which of :data:`PROTOCOLS` the terminal is known to speak."""
    program, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "sixel" if any(name in term for name in ("sixel", "mlterm", "foot")) else "blocks"


def inline(pixels: Any, protocol: str, width: int) -> str:
    """Return what shows ``uint8`` pixels ``[h, w]`` or ``[h, w, 3]`` when it is printed.

    ``width`` is that of the terminal in columns; half blocks are no wider.
    """
    image = Image.fromarray(pixels)
    if protocol == "kitty":
        return "".join(_kitty(_png(image))) + "\n"
    if protocol == "iterm":
        data = base64.b64encode(_png(image)).decode()
        return f"\x1b]1337;File=inline=1;width={image.width * 2}px:{data}\x07\n"
    return _sixel(image) if protocol == "sixel" else _blocks(image, width)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _kitty(data: bytes) -> Iterator[str]:
    text = base64.b64encode(data).decode()
    for start in range(0, len(text), CHUNK):
        more = int(start + CHUNK < len(text))
        control = f"a=T,f=100,m={more}" if start == 0 else f"m={more}"
        yield f"\x1b_G{control};{text[start : start + CHUNK]}\x1b\\"


def _sixel(image: Image.Image) -> str:
    """Encode in shades of grey: bands of six rows, a colour at a time."""
    grey = np.asarray(image.convert("L").resize((image.width * 2, image.height * 2)))
    shade = (grey.astype(int) * (GREYS - 1) + 127) // 255
    colours = [f"#{n};2" + f";{n * 100 // (GREYS - 1)}" * 3 for n in range(GREYS)]
    bands = [_band(shade[top : top + 6]) for top in range(0, len(shade), 6)]
    return f"\x1bPq{''.join(colours)}{''.join(bands)}\x1b\\\n"


def _band(rows: Any) -> str:
    weights = 1 << np.arange(len(rows))
    lines = []
    for colour in np.unique(rows):
        bits = ((rows == colour) * weights[:, None]).sum(0) + 63
        runs = ((chr(value), len(list(run))) for value, run in groupby(bits.tolist()))
        lines.append(f"#{colour}" + "".join(f"!{n}{c}" if n > 3 else c * n for c, n in runs))
    return "$".join(lines) + "-"


def _blocks(image: Image.Image, width: int) -> str:
    """Return half blocks in 24-bit colour: two pixels above each other in a cell."""
    if image.width > width:
        image = image.resize((width, max(image.height * width // image.width, 2)))
    pixels = np.asarray(image.convert("RGB"))
    pixels = pixels[: len(pixels) // 2 * 2]
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = [
            "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*above, *below)
            for above, below in zip(upper.tolist(), lower.tolist(), strict=True)
        ]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines) + "\n"
