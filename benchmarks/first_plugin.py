"""From an empty directory to a ranked row: what a first generator costs, step by step.

    python benchmarks/first_plugin.py [--most 300] [--keep DIR] [--write FILE]

Does what docs/first-generator.md says, with its code, in an environment of its own that
sees this one's packages: `dpbench new`, the edit, `pip install -e`, `dpbench check`,
`dpbench run --grid smoke`, and a look at the row. Exits with 1 where a step fails, the edit
adds more than 30 lines, no row is ranked, or all steps took more than
`--most` seconds of processor time (which other work on the machine does not change).
Data are fetched if they are not cached yet.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import resource
import site
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import command, machine, publish, table

import dpbench

TUTORIAL = Path(__file__).parent.parent / "docs" / "first-generator.md"
MOST_LINES = 30
DPBENCH = ["-c", "from dpbench.cli.main import main; main()"]
Steps = list[tuple[str, float, float]]


def environment(root: Path) -> Path:
    """Make an environment that sees what this one has; return its Python."""
    venv.create(root, with_pip=True)
    python = root / "bin" / "python"
    places = [str(Path(dpbench.__file__).parents[1]), *site.getsitepackages()]
    line = "import site; " + "; ".join(f"site.addsitedir({place!r})" for place in places)
    (folder,) = (root / "lib").glob("python*/site-packages")
    (folder / "outer.pth").write_text(line + "\n")
    return python


def edited(source: str, page: str) -> str:
    """Return ``source`` with its methods replaced by those of the tutorial's class."""
    (code,) = re.findall(r"(?s)```python\nclass .*?\n(?:    #.*?\n)*(.*?)```", page)
    head, _, rest = source.partition("    def fit(")
    return f"{head}{code}\n\n@hookimpl{rest.partition('@hookimpl')[2]}"


def added(before: str, after: str) -> int:
    """Count the lines of ``after`` that ``before`` does not have."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return sum(line.startswith("+ ") and bool(line[2:].strip()) for line in lines)


@contextlib.contextmanager
def step(name: str, steps: Steps) -> Iterator[None]:
    """Note wall time, and the processor time of processes that ended."""
    wall, before = time.perf_counter(), _processor()
    yield
    steps.append((name, time.perf_counter() - wall, _processor() - before))


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def go_through(home: Path, python: Path, steps: Steps) -> tuple[int, list[dict[str, Any]]]:
    """Take every step; return how many lines the edit added, and the rows."""

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), *arguments], cwd=home, text=True, capture_output=True, env=_variables()
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments[-4:])} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    with step("dpbench new", steps):
        call(*DPBENCH, "new", "mine", "--kind", "generator")
    file = home / "dpbench-mine" / "dpbench_mine" / "__init__.py"
    before = file.read_text()
    file.write_text(edited(before, TUTORIAL.read_text()))
    with step("pip install -e", steps):
        call("-m", "pip", "install", "--quiet", "--no-deps", "-e", "dpbench-mine")
    with step("dpbench check", steps):
        call(*DPBENCH, "check", "mine")
    with step("dpbench run --grid smoke", steps):
        call(*DPBENCH, "run", "--grid", "smoke", "--method", "mine")
    with step("dpbench leaderboard", steps):
        text = call(*DPBENCH, "leaderboard", "--method", "mine", "--format", "json")
    return added(before, file.read_text()), json.loads(text)


def _variables() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "DPBENCH_PLUGINS": "dpbench-mine"}


def report(steps: Steps, lines: int, rows: list[dict[str, Any]]) -> list[str]:
    """Return the result as Markdown."""
    total = ("all", sum(wall for _, wall, _ in steps), sum(used for *_, used in steps))
    cells = [(name, f"{wall:.1f}", f"{used:.1f}") for name, wall, used in (*steps, total)]
    found = [
        f"{row['method']} at ε = {row['epsilon']:g}: FID {row['metrics']['fid']:.1f}"
        for row in ranked(rows)
    ]
    return [
        *table(("step", "wall s", "processor s"), cells),
        "",
        f"The edit adds {lines} lines. Rows: {'; '.join(found)}.",
    ]


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the new generator that have a figure."""
    return [r for r in rows if r["method"].endswith("-Mine") and r["status"] == "ok"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--most", type=float, default=300, help="processor seconds that all may take"
    )
    parser.add_argument("--keep", type=Path, help="work in this directory, and leave it there")
    parser.add_argument("--write", type=Path, help="file to write")
    options = parser.parse_args()
    steps: Steps = []
    with contextlib.ExitStack() as stack:
        home = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = home.absolute()
        with step("an environment", steps):
            python = environment(home / "venv")
        lines, rows = go_through(home, python, steps)
    head = ("# From an empty directory to a ranked row", "", f"`{command()}`  ", machine(), "")
    publish([*head, *report(steps, lines, rows)], options.write)
    seconds = sum(used for *_, used in steps)
    if lines > MOST_LINES or not ranked(rows) or seconds > options.most:
        count = len(ranked(rows))
        raise SystemExit(
            f"missed: {lines} lines, {count} ranked rows, {seconds:.0f} processor seconds"
        )


if __name__ == "__main__":
    main()
