"""A pickle reader that rebuilds plain numeric arrays and refuses everything else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from gzip import GzipFile
from typing import Any, BinaryIO

import numpy as np

__all__ = ["ArrayUnpickler", "load_arrays"]


def _empty(_class: object, _shape: object, _typecode: object) -> np.ndarray[Any, Any]:
    return np.empty(0, np.uint8)


def _dtype(spec: str | bytes, _align: object = 0, _copy: object = 1) -> np.dtype[Any]:
    dtype = np.dtype(spec.decode("ascii") if isinstance(spec, bytes) else spec)
    if dtype.kind not in "fiu":
        raise pickle.UnpicklingError(f"refused an array of dtype {dtype}")
    return dtype


def _class(*_arguments: object) -> None:
    raise pickle.UnpicklingError("refused a direct call of numpy.ndarray")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy", "ndarray"): _class,
    ("numpy", "dtype"): _dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Resolves no global but those of numpy's array reconstruction.

    Even these are replaced by functions of this module, so that a pickle can
    reach nothing that it was not handed here.
    """

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused {module}.{name}") from None


def load_arrays(stream: BinaryIO | GzipFile) -> Any:
    """Read nested tuples, lists and dicts of numeric arrays.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything else.
    """
    return ArrayUnpickler(stream, encoding="bytes").load()
