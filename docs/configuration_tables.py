"""Write the tables of docs/configuration.md from the code: every key, its type and default.

python docs/configuration_tables.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dpbench.metrics.protocol import Protocol
from dpbench.planning.config import SECTIONS, ConfigFile, GridConfig, Latents, Limits
from dpbench.planning.toml import toml_value
from dpbench.plugins import Registered, registry

PAGE = Path(__file__).with_name("configuration.md")
MARK = "<!-- What follows is written by docs/configuration_tables.py. -->\n"
TABLES: dict[str, type[BaseModel]] = {
    "Top level": ConfigFile,
    "[latents]": Latents,
    "[limits]": Limits,
    "[protocols.NAME]": Protocol,
    "[grids.NAME]": GridConfig,
}
#: What a user writes as a table of its own, or not at all.
ELSEWHERE = {ConfigFile: {*SECTIONS, "protocols", "grids"}, Protocol: {"name"}}
WORDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "table",
}
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
Schema = dict[str, Any]


def page(text: str) -> str:
    """Return the page ``text`` with the part below the mark made anew."""
    written, mark, _ = text.partition(MARK)
    return written + (mark or MARK) + "\n".join(_parts())


def _parts() -> Iterator[str]:
    for title, model in TABLES.items():
        yield f"\n## {title}\n"
        yield from _table(model)
    for section, kind in SECTIONS.items():
        built_in = [e for e in registry() if e.cls.kind == kind and e.distribution == "dpbench"]
        for entry in sorted(built_in, key=lambda entry: str(entry.cls.name)):
            yield f"\n## [{section}.{entry.cls.name}]\n"
            yield _prose(entry)
            yield from _table(entry.cls.Params)
            for key, inner in _inner(entry.cls.Params):
                yield f"\n### [{section}.{entry.cls.name}.{key}]\n"
                yield from _table(inner)


def _inner(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the tables among a model's keys."""
    for key, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield key, part


def _prose(entry: Registered) -> str:
    """Return what the plugin, and its hyperparameters, say of themselves."""
    docs = [inspect.cleandoc(cls.__doc__ or "") for cls in (entry.cls, entry.cls.Params)]
    parts = [part for doc in docs for part in doc.split("\n\n")]
    lists = ("Attributes:", "Args:", ">>>", "Base of a plugin's")
    return _markdown("\n\n".join(part for part in parts if not part.startswith(lists))) + "\n"


def _markdown(text: str) -> str:
    text = re.sub(r":\w+:`~?\.?([\w.]+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("::", ":")


def _table(model: type[BaseModel]) -> Iterator[str]:
    schema, said = model.model_json_schema(), _attributes(model)
    hidden = ELSEWHERE.get(model, set())
    fields = {name: f for name, f in model.model_fields.items() if name not in hidden}
    if not fields:
        yield "No keys.\n"
        return
    yield "| key | type | default | |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        what = in_words(schema["properties"][name], schema.get("$defs", {}))
        about = field.description or said.get(name, "")
        cells = (f"`{name}`", what, _default(field), about)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        own = value.model_dump(mode="json", exclude_defaults=True)
        return f"`{toml_value(own)}`" if own else "its own table"
    return f"`{toml_value(value)}`"


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a model and its bases say of each, the model's own last."""
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        listed = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        found = re.findall(r"(?ms)^ {4}([\w, ]+): (.+?)(?=^ {4}\w[\w, ]*: |^\S|\Z)", listed)
        for names, text in found:
            said |= dict.fromkeys(names.split(", "), _markdown(" ".join(text.split())))
    return said


def in_words(schema: Schema, definitions: dict[str, Schema]) -> str:
    """Say in words what a JSON schema allows.

    >>> in_words({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, {})
    'whole number ≥ 1'
    >>> in_words({"type": "array", "items": {"enum": ["a", "b"]}}, {})
    'list of `"a"` or `"b"`'
    """
    if "anyOf" in schema:
        several = [in_words(one, definitions) for one in schema["anyOf"] if one != {"type": "null"}]
        return " or ".join(dict.fromkeys(several))
    if "$ref" in schema:
        return in_words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"`{toml_value(value)}`" for value in values)
    if schema.get("type") == "array":
        items = schema.get("prefixItems", [schema.get("items", {})])
        count = f"{len(items)} of " if "prefixItems" in schema else ""
        return f"list of {count}{in_words(items[0], definitions)}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([WORDS.get(schema.get("type", ""), "any value"), ", ".join(bounds)]).strip()


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
