from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dpbench.datasets import describe
from dpbench.datasets.folder import Folder
from dpbench.datasets.mnist import Mnist


def test_before_fetching(tmp_path: Path) -> None:
    facts = describe(Mnist(Mnist.Params()), tmp_path)
    assert facts == {
        "name": "mnist",
        "cached": False,
        "source": "",
        "path": str(tmp_path / "MNIST" / "raw"),
        "sizes": None,
        "image_shape": None,
        "classes": None,
        "private_classes": None,
    }


def test_of_a_users_folder(tmp_path: Path, image_folder: Path) -> None:
    facts = describe(Folder(Folder.Params(path=image_folder)), tmp_path)
    assert list(facts["sizes"]) == ["labelling", "public", "private", "test"]
    assert sum(facts["sizes"].values()) == 24
    assert facts["image_shape"] == [3, 8, 6]
    assert facts["classes"] == [
        {"label": 0, "name": "apple", "images": 12},
        {"label": 1, "name": "pear", "images": 12},
    ]
    assert facts["private_classes"] == [0]
    json.dumps(facts)


def test_importing_it_is_light() -> None:
    code = "import sys, dpbench.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
