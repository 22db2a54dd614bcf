from __future__ import annotations

import numpy as np
import pytest

from dpbench.datasets import idx


def test_roundtrip() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(idx.decode(idx.encode(array)).numpy(), array)


def test_header_is_the_official_one() -> None:
    content = idx.encode(np.zeros((5, 28, 28), np.uint8))
    assert content[:16].hex() == "00000803000000050000001c0000001c"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00", "cut short"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", "holds 2 bytes"),
        (b"\x00\x00\x08\x04" + b"\x00\x01\x00\x00" * 4, "announces shape .* but holds 0 bytes"),
        (b"\x00\x00\x08\xff" + b"\x00\x00\x00\x01" * 255 + b"a", "dimension"),
    ],
)
def test_refuses_what_is_not_one(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        idx.decode(content)


def test_labelled_gives_images_at_rest(files: dict[str, bytes]) -> None:
    train, test = idx.labelled(files)
    assert train.images.shape == (60, 1, 28, 28)
    assert str(train.images.dtype) == "torch.uint8"
    assert str(test.labels.dtype) == "torch.int64"
    assert len(test) == 20
