"""Which device tasks compute on."""

from __future__ import annotations

import torch

from dpbench.errors import DpbenchError

__all__ = ["choose_device"]


def choose_device(asked: str | None) -> str:
    """Return the device to use: the one asked for, else CUDA where there is one.

    Raises:
        DpbenchError: the device is not there.
    """
    if asked is None or asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DpbenchError(
            f"device {asked!r} cannot be used ({reason}): try --device cpu"
        ) from error
    return asked
