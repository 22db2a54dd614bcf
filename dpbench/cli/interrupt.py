"""Ctrl-C: once ends a run in order, twice at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

__all__ = ["EXIT_CODE", "GO_ON", "Interrupts"]

EXIT_CODE = 130
GO_ON = "interrupted; what had ended is kept: the same command goes on from there"


class Interrupts:
    """While entered, the first Ctrl-C is only remembered; :meth:`check` then raises.

    Whatever is being written is so finished. The second ends the process at once,
    and its workers with it.
    """

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            os.write(2, f"\x1b[?25h\nstopped at once; {GO_ON}\n".encode())
            os._exit(EXIT_CODE)
        self._asked = True
        if sys.stderr.isatty():
            os.write(2, b"\nending; Ctrl-C again stops at once\n")

    def check(self) -> None:
        """Raise :class:`KeyboardInterrupt` if Ctrl-C was pressed."""
        if self._asked:
            raise KeyboardInterrupt(GO_ON)
