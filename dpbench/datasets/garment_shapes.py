"""Silhouettes of clothes, shoes and bags, drawn at random: polygons with a tone each.

Coordinates are in [-1, 1], x to the right and y downwards. A shape is a list of parts,
later ones over earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["KINDS", "Part", "Shape"]

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Part:
    """A polygon; ``tone`` multiplies the garment's brightness, 0 cuts a hole.

    ``width`` above 0 draws the points as a line of that width instead.
    """

    points: Points
    tone: float = 1.0
    width: float = 0.0


Shape = Callable[[np.random.Generator], list[Part]]


def _mirrored(half: Points) -> Points:
    """Close the right half of an outline, top to bottom, by its mirror image."""
    return half + [(-x, y) for x, y in reversed(half)]


def _both(part: Part) -> list[Part]:
    return [part, Part([(-x, y) for x, y in part.points], part.tone, part.width)]


def _sleeves(r: np.random.Generator, shoulder: float, top: float, length: float) -> list[Part]:
    """Two sleeves of ``length`` that hang from the shoulders."""
    spread = r.uniform(0.05, 0.5) if length > 0.7 else r.uniform(0.2, 0.8)
    width = r.uniform(0.2, 0.34)
    dx, dy = np.sin(spread) * length, np.cos(spread) * length
    cuff = r.uniform(0.55, 0.95) * width
    points = [
        (shoulder - 0.12, top),
        (shoulder + 0.04, top + 0.05),
        (shoulder + 0.04 + dx, top + dy),
        (shoulder + 0.04 + dx - cuff * np.cos(spread), top + dy + cuff * np.sin(spread)),
        (shoulder - width * 0.8, top + width * 1.4),
    ]
    return _both(Part(points, r.uniform(0.75, 1.05)))


def top(r: np.random.Generator) -> list[Part]:
    """T-shirt, pullover, shirt or coat: a torso, sleeves of any length, a neck, a front."""
    shoulder, head = r.uniform(0.4, 0.6), r.uniform(-0.95, -0.8)
    neck, hem = r.uniform(0.14, 0.28), r.uniform(0.55, 0.97)
    waist = shoulder * r.uniform(0.75, 1.05)
    torso = [
        (neck, head),
        (shoulder, head + r.uniform(0.06, 0.18)),
        (shoulder * r.uniform(0.8, 0.98), head + 0.5),
        (waist, r.uniform(-0.1, 0.3)),
        (waist * r.uniform(0.9, 1.25), hem),
    ]
    length = r.choice([0.0, r.uniform(0.3, 0.6), r.uniform(1.1, 1.65)], p=[0.1, 0.4, 0.5])
    parts = _sleeves(r, shoulder, head + 0.1, length) if length else []
    parts.append(Part(_mirrored(torso)))
    parts += _neck(r, neck, head)
    if r.random() < 0.45:
        parts.append(Part([(0.0, head + 0.1), (r.uniform(-0.04, 0.04), hem)], 0.45, 0.05))
    if r.random() < 0.25:
        parts += _both(Part([(neck, head), (neck + 0.12, head + 0.1), (0.02, head + 0.5)], 0.7))
    return parts


def _neck(r: np.random.Generator, neck: float, head: float) -> list[Part]:
    """A neckline: round, pointed, high or none."""
    depth = r.uniform(0.05, 0.4)
    kind = r.integers(4)
    if kind == 0:
        return []
    if kind == 1:
        collar = [(neck, head), (neck * 0.9, head - 0.1), (0.0, head - 0.08)]
        return [Part(_mirrored(collar), r.uniform(0.6, 1.1))]
    sides = [(neck, head)] if kind == 2 else [(neck, head), (neck * 0.8, head + depth * 0.7)]
    return [Part(_mirrored([*sides, (0.0, head + depth)]), r.choice([0.0, r.uniform(0.3, 0.8)]))]


def dress(r: np.random.Generator) -> list[Part]:
    """A dress: narrow at the waist, to the lower edge; straps or sleeves."""
    shoulder, head = r.uniform(0.16, 0.4), r.uniform(-0.97, -0.85)
    waist = r.uniform(0.16, 0.34)
    body = [
        (shoulder * 0.5, head),
        (shoulder, head + 0.05),
        (waist * r.uniform(0.9, 1.3), head + 0.5),
        (waist, r.uniform(-0.35, -0.05)),
        (waist * r.uniform(1.0, 1.8), 0.4),
        (waist * r.uniform(1.0, 2.5), r.uniform(0.75, 0.98)),
    ]
    length = r.choice([0.0, 0.4, 1.2], p=[0.6, 0.25, 0.15])
    parts = _sleeves(r, shoulder, head + 0.05, length) if length else []
    parts += [Part(_mirrored(body)), *_neck(r, shoulder * 0.5, head)]
    if r.random() < 0.3:
        parts.append(Part([(-waist, -0.2), (waist, -0.2)], r.uniform(0.2, 1.4), 0.08))
    return parts


def trousers(r: np.random.Generator) -> list[Part]:
    """Two legs under a waistband, close together or apart, short or long."""
    waist, hip = r.uniform(0.2, 0.34), r.uniform(0.26, 0.46)
    fork, hem = r.uniform(-0.55, -0.1), r.choice([r.uniform(-0.1, 0.5), 0.95], p=[0.15, 0.85])
    gap, ankle = r.uniform(0.0, 0.14), r.uniform(0.12, 0.3)
    leg = [
        (0.0, -0.95),
        (waist, -0.95),
        (hip, fork),
        (gap + ankle + r.uniform(0, 0.08), hem),
        (gap, hem),
        (r.uniform(0.0, 0.04), fork),
    ]
    parts = _both(Part(leg))
    parts.append(Part([(-waist, -0.92), (waist, -0.92)], r.uniform(0.6, 1.2), 0.08))
    return parts


def shoe(r: np.random.Generator) -> list[Part]:
    """A low shoe from the side, its toe to the left: upper, sole, laces."""
    sole, toe = r.uniform(0.3, 0.5), r.uniform(0.05, 0.35)
    ankle, heel = r.uniform(-0.4, 0.0), r.uniform(-0.35, 0.05)
    upper = [
        (-0.95, sole),
        (-0.93, sole - toe * 0.6),
        (-0.65, sole - toe - 0.05),
        (r.uniform(-0.3, 0.0), ankle + r.uniform(0.1, 0.25)),
        (r.uniform(0.05, 0.35), ankle),
        (0.6, ankle + r.uniform(0.0, 0.25)),
        (0.92, heel),
        (0.95, sole),
    ]
    thick = r.uniform(0.06, 0.2)
    base = [(-0.97, sole - 0.02), (0.97, sole - 0.02), (0.95, sole + thick), (-0.9, sole + thick)]
    parts = [Part(upper), Part(base, r.uniform(0.3, 1.5))]
    for _ in range(r.integers(0, 4)):
        x, slant = r.uniform(-0.5, 0.7), r.uniform(-0.3, 0.3)
        ends = [(x, sole - 0.02), (x + slant, ankle + 0.2)]
        parts.append(Part(ends, r.uniform(0.2, 1.6), r.uniform(0.04, 0.14)))
    return parts


def boot(r: np.random.Generator) -> list[Part]:
    """A boot from the side, its toe to the left, with a shaft and perhaps a heel."""
    shaft, sole = r.uniform(-0.97, -0.4), r.uniform(0.55, 0.85)
    back, front = r.uniform(0.6, 0.9), r.uniform(-0.3, 0.2)
    instep = r.uniform(0.1, 0.45)
    upper = [
        (-0.95, sole),
        (-0.9, sole - r.uniform(0.15, 0.3)),
        (-0.45, sole - instep),
        (front, r.uniform(-0.2, 0.1)),
        (front + r.uniform(-0.1, 0.1), shaft),
        (back, shaft + r.uniform(-0.05, 0.08)),
        (back * r.uniform(0.9, 1.05), 0.2),
        (back + 0.05, sole),
    ]
    parts = [Part(upper), Part([(-0.95, sole), (back + 0.05, sole)], r.uniform(0.3, 1.4), 0.1)]
    if r.random() < 0.6:
        high = r.uniform(0.05, 0.25)
        heel = [
            (back - 0.3, sole),
            (back + 0.05, sole),
            (back, sole + high),
            (back - 0.2, sole + high),
        ]
        parts.append(Part(heel, r.uniform(0.5, 1.0)))
    if r.random() < 0.4:
        y = r.uniform(shaft, 0.2)
        parts.append(Part([(front, y), (back, y)], r.uniform(0.3, 1.4), 0.08))
    return parts


def sandal(r: np.random.Generator) -> list[Part]:
    """A sole, flat or on a heel, with straps and open space between them."""
    front, back = r.uniform(0.4, 0.7), r.uniform(-0.1, 0.6)
    arch = r.uniform(0.0, 0.2)
    thick = r.uniform(0.06, 0.18)
    line = [(-0.95, front), (-0.3, front - arch * 0.3), (0.3, (front + back) / 2), (0.92, back)]
    parts = [Part(line, 1.0, thick)]
    if back < 0.35:
        x = r.uniform(0.7, 0.9)
        parts.append(Part([(x, back), (x + r.uniform(-0.1, 0.1), front + 0.1)], 0.9, thick))
    for _ in range(r.integers(2, 6)):
        x, width = r.uniform(-0.85, 0.6), r.uniform(0.05, 0.2)
        y = front + (back - front) * (x + 0.95) / 1.87
        high = r.uniform(0.15, 0.5)
        bend = r.uniform(-0.1, 0.25)
        strap = [(x, y), (x + bend, y - high), (x + bend + r.uniform(0.1, 0.35), y - high * 0.8)]
        parts.append(Part(strap, r.uniform(0.5, 1.2), width))
    if r.random() < 0.4:
        ring = [(0.4, back - 0.5), (0.9, back - 0.45), (0.9, back)]
        parts.append(Part(ring, r.uniform(0.5, 1.1), 0.07))
    return parts


def bag(r: np.random.Generator) -> list[Part]:
    """A bag: a body with rounded or slanted sides, a flap, a handle or none."""
    high, low = r.uniform(-0.5, 0.1), r.uniform(0.6, 0.92)
    wide, base = r.uniform(0.55, 0.95), r.uniform(0.6, 0.97)
    body = [(wide * 0.92, high), (wide, high + 0.1), (base, low - 0.1), (base * 0.93, low)]
    parts = []
    if r.random() < 0.75:
        reach, rise = r.uniform(0.2, 0.6), r.uniform(0.25, 0.95 + high)
        turn = np.linspace(0, np.pi, 9)
        arc = [(reach * np.cos(t), high - rise * np.sin(t)) for t in turn]
        parts.append(Part(arc, r.uniform(0.5, 1.1), r.uniform(0.05, 0.14)))
    parts.append(Part(_mirrored(body)))
    if r.random() < 0.5:
        flap = high + r.uniform(0.15, 0.6) * (low - high)
        parts.append(Part([(-wide, flap), (wide, flap)], r.uniform(0.2, 0.7), 0.05))
    if r.random() < 0.4:
        x, y = r.uniform(-0.2, 0.2), r.uniform(high, low)
        parts.append(Part([(x - 0.08, y), (x + 0.08, y)], r.uniform(0.2, 1.6), 0.12))
    return parts


#: Every kind of shape; the place of a kind is its label.
KINDS: tuple[Shape, ...] = (top, dress, trousers, shoe, boot, sandal, bag)
