from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpbench.datasets.unpickle import load_arrays


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_reads_nested_numeric_arrays() -> None:
    value = (np.arange(6, dtype=np.float32).reshape(2, 3), [np.arange(3)])
    first, (second,) = load_arrays(io.BytesIO(pickle.dumps(value, protocol=3)))
    assert np.array_equal(first, value[0])
    assert first.dtype == np.float32
    assert np.array_equal(second, value[1][0])


def test_reads_python_2_pickles() -> None:
    text = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x00\x02\x00tb."
    )
    assert load_arrays(io.BytesIO(text)).tolist() == [1, 2]


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "harm"
    pickled = pickle.dumps((np.zeros(2), Malicious(target)), protocol=3)
    with pytest.raises(pickle.UnpicklingError, match=r"refused posix\.mkdir"):
        load_arrays(io.BytesIO(pickled))
    assert not target.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        pickle.dumps(np.array([{}], dtype=object), protocol=3),
        pickle.dumps(np.array(["text"]), protocol=3),
        b"cnumpy\nndarray\n(K\x02tR.",
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"cbuiltins\neval\n.",
    ],
)
def test_everything_else_is_refused(pickled: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        load_arrays(io.BytesIO(pickled))
