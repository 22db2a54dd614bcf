"""Ctrl-C: once ends a run in order, twice at once; SIGTERM and SIGHUP end it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType

__all__ = ["EXIT_CODE", "GO_ON", "Interrupts"]

EXIT_CODE = 130
GO_ON = "interrupted; what had ended is kept: the same command goes on from there"
AT_ONCE = (signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, the first Ctrl-C is only remembered; :meth:`check` then raises.

    Whatever is being written is so finished. The second ends the process at once,
    and its workers with it; so do SIGTERM and SIGHUP, with the exit code that they have
    anyhow. A handler of somebody's own for these stays, as does what ``nohup`` ignores.
    """

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
            self._ours = [n for n in AT_ONCE if signal.getsignal(n) is signal.SIG_DFL]
            for number in self._ours:
                signal.signal(number, _end)
        return self

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
            for number in self._ours:
                signal.signal(number, signal.SIG_DFL)

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


def _end(number: int, _frame: FrameType | None) -> None:
    """Say how to go on, then let a signal do what it does."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        cursor = "\x1b[?25h\n" if os.isatty(2) else ""
        os.write(2, f"{cursor}{GO_ON}\n".encode())
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
