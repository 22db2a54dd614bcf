"""Elements of SVG as text: what the plots are written with."""

from __future__ import annotations

from html import escape

__all__ = ["element", "text"]

Attribute = str | float | None


def element(name: str, *children: str, **attributes: Attribute) -> str:
    """Return ``<name …>children</name>``; children are SVG already, attributes are escaped.

    ``class_`` is written ``class``, and ``text_anchor`` ``text-anchor``; what is ``None``
    is left out. Lengths keep one decimal: a tenth of a pixel.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def text(content: str, x: float, y: float, **attributes: Attribute) -> str:
    """Return ``content``, escaped, with its baseline at ``(x, y)``."""
    return element("text", escape(content), x=x, y=y, **attributes)


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{round(value, 1):g}"
