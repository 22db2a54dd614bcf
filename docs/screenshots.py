"""Make the pictures of docs/pictures/ anew: terminal, page, phone in the dark, samples.

``python docs/screenshots.py RUNS``, from the root of the repository, with Chromium installed.
RUNS has results with artifacts; what is shown is its first data set.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from leaderboard.chromium import Chromium, find_chromium  # noqa: E402

from dpbench.cli.live import elsewhere  # noqa: E402
from dpbench.leaderboard import Leaderboard, load, print_leaderboard, write_board  # noqa: E402

COLOURS = 128
#: The heading above samples and the real images beside them.
SAMPLES = "[...document.querySelectorAll('h3')].find(h => h.textContent === 'Samples')"


def main(runs: Path, pictures: Path) -> None:
    """Show the first data set of ``runs``."""
    board = load(runs)
    board = board.filter(dataset=board.sections[0].dataset)
    pictures.mkdir(parents=True, exist_ok=True)
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, Chromium(program) as browser:
        out = Path(folder)
        write_board(board, out)
        (out / "terminal.svg").write_text(terminal(board), encoding="utf-8")
        browser.look(1250, 640)
        browser.open(out / "terminal.svg")
        shoot(browser, pictures / "terminal.png")
        browser.look(1280, 1150)
        browser.open(out / "index.html")
        shoot(browser, pictures / "page.png")
        browser.run(f"{SAMPLES}.scrollIntoView() || 0")
        shoot(browser, pictures / "samples.png")
        browser.look(390, 844, dark=True, scale=1.5)
        browser.open(out / "index.html")
        browser.run("document.querySelector('form').scrollIntoView() || 0")
        shoot(browser, pictures / "phone.png")


def terminal(board: Leaderboard) -> str:
    """Return as SVG what a terminal of 100 columns shows."""
    console = Console(
        file=io.StringIO(), record=True, width=100, force_terminal=True, color_system="truecolor"
    )
    console.print(Text("$ dpbench leaderboard", style="dim"))
    print_leaderboard(board, console)
    console.print(Text(elsewhere(Path("runs"))))
    return console.export_svg(title="100 columns")


def shoot(browser: Chromium, path: Path) -> None:
    """Write what is seen with few colours: a picture is under 200 kB."""
    browser.picture(path)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(COLOURS)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), ROOT / "docs" / "pictures")
