from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dpbench.datasets.cross import UnlikeImages
from dpbench.planning.config import Config, InvalidConfig, load_config
from dpbench.plugins import registry
from dpbench.runner.data import load_dataset, make_dataset
from dpbench.stages.data import DataKeys

GRID = "[grids.one]\nepsilon = [1]\nclip = [1.0]\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (90, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "scans.npz", images=images, labels=np.arange(90) % 3)
    return written(
        tmp_path,
        f"""
[datasets.letters]
plugin = "glyphs"
images = 70
[datasets.scans]
plugin = "npz"
path = "{tmp_path / "scans.npz"}"
public = "letters"
partition = {{ labelling = 10, test = 20 }}
[datasets.large]
plugin = "npz"
path = "{tmp_path / "scans.npz"}"
public = "larger"
[datasets.larger]
plugin = "glyphs"
images = 70
size = 32
""",
    )


def written(folder: Path, text: str) -> Config:
    path = folder / "benchmarks.toml"
    path.write_text(f'dataset = "scans"\n{text}{GRID}[protocols.default]\nsamples = 10\n')
    return load_config(path, registry())


def test_all_classes_are_private_beside_anothers_images(config: Config) -> None:
    partition = load_dataset(config, config.component("datasets", "scans"))
    assert len(partition.public) == 70
    assert [len(partition.labelling), len(partition.private), len(partition.test)] == [10, 60, 20]
    assert partition.private_classes == (0, 1, 2)


def test_every_image_has_one_part(config: Config) -> None:
    partition = load_dataset(config, config.component("datasets", "scans"))
    own = [partition.labelling, partition.private, partition.test]
    rows = torch.cat([part.images.flatten(1) for part in own])
    assert len(rows.unique(dim=0)) == 90


def test_the_public_part_has_the_key_of_the_public_images_alone(config: Config) -> None:
    """Whatever is private beside them: nothing public may be named by private data."""
    keys = DataKeys.of(load_dataset(config, config.component("datasets", "scans")))
    path = Path(config.file.datasets["scans"]["path"])
    np.savez(path, images=np.zeros((90, 28, 28), np.uint8), labels=np.arange(90) % 3)
    changed = DataKeys.of(load_dataset(config, config.component("datasets", "scans")))
    assert changed.public == keys.public
    assert changed.private != keys.private


def test_images_of_another_shape_are_refused(config: Config) -> None:
    with pytest.raises(UnlikeImages, match=r"1 x 32 x 32.*1 x 28 x 28: set size and channels"):
        load_dataset(config, config.component("datasets", "large"))


def test_data_tells_whose_images_are_public(config: Config, tmp_path: Path) -> None:
    shown = make_dataset(config, config.component("datasets", "scans"))
    assert "public images: glyphs" in getattr(shown, "origin")(tmp_path)  # noqa: B009


@pytest.mark.parametrize(
    ("public", "complaint"),
    [("letter", "unknown name 'letter'"), ("scans", "name one with images of its own")],
)
def test_a_bad_public_data_set_is_a_violation(tmp_path: Path, public: str, complaint: str) -> None:
    text = f'[datasets.scans]\nplugin = "glyphs"\npublic = "{public}"\n'
    with pytest.raises(InvalidConfig, match=complaint):
        written(tmp_path, text)
