"""A hook of mkdocs: links out of ``docs/`` go to the repository, where those files are."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOG = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Point ``](../file)`` at the repository; a file that is not there is a warning."""

    def target(match: re.Match[str]) -> str:
        path = match[1]
        if not (ROOT / path).exists():
            LOG.warning("%s links to ../%s, which is not there", page.file.src_path, path)
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"]({config.repo_url.rstrip('/')}/{kind}/main/{path}"

    return re.sub(r"\]\(\.\./([^)#]+)", target, markdown)
