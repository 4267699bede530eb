"""Signals that stop a process: the first asks it to stop, the second ends it at once.

SIGTERM and SIGINT (Ctrl-C) stop it, and SIGHUP (its terminal is closed). A process below a supervisor ignores
the second signal: service managers signal the supervisor and its children at the same time, and the
supervisor kills children that are late.

Python runs a signal handler in the main thread, between any two instructions: not while a long call of
native code, such as the fit of a model, is running there. The signals are therefore read in a thread, from a
pipe that Python's own C handler writes to (`signal.set_wakeup_fd`). Native code that holds the interpreter's
lock blocks that thread too; then the supervisor or the service manager kills the process.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]

_wakeup_fds: list[int] = []
"""The write end of the pipe that is in use, if any."""


def handle_stop(handler: Handler) -> None:
    """Set the handler of the stop signals; a SIGHUP that is ignored, as below `nohup`, stays ignored."""
    _set_handlers(handler)
    _replace_pipe(-1)


def end_at_stop() -> None:
    """End the process with code 0 at a stop signal from now on: a start has nothing to finish.

    It takes no detour through an exception, which a callback of another library could swallow, and ends a
    process in the middle of a long call of native code.
    """

    def wait(signals: int) -> None:
        if _next_signal(signals, None):
            os._exit(0)
        os.close(signals)

    _read_signals(wait)
    _set_handlers(lambda *_: os._exit(0))


def stop_event(
    *,
    on_second: Callable[[], None] = lambda: None,
    supervised: bool = False,
    seconds: float | None = None,
) -> threading.Event:
    """Return an event that is set at the first stop signal; the second ends the process.

    Call it in the main thread.

    Args:
        on_second: called before the process ends at once, such as to kill its children.
        supervised: another process kills this one if it is late, so the second signal is ignored.
        seconds: time to stop; a process that is still running then ends at once, with code 0, as after a
            crash. None waits for ever.
    """
    event = threading.Event()

    def wait(signals: int) -> None:
        if _next_signal(signals, None):
            event.set()
            late = None if seconds is None else time.monotonic() + seconds
            while number := _next_signal(signals, late):
                if not supervised:
                    on_second()
                    os._exit(128 + number)
        os.close(signals)

    _read_signals(wait)
    _set_handlers(lambda *_: None)  # a signal with a handler is written to the pipe
    return event


def _set_handlers(handler: Handler) -> None:
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _read_signals(wait: Callable[[int], None]) -> None:
    """Run a function in a thread, with the read end of a new pipe of signal numbers."""
    signals, written = os.pipe()
    os.set_blocking(written, False)
    threading.Thread(target=wait, args=(signals,), name="signals", daemon=True).start()
    _replace_pipe(written)


def _replace_pipe(written: int) -> None:
    """Write signals to this pipe from now on, -1 to none; the thread that reads the last one ends."""
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for old in _wakeup_fds:
        os.close(old)
    _wakeup_fds[:] = [] if written == -1 else [written]


def _next_signal(signals: int, late: float | None) -> int:
    """Read the next stop signal; 0 if the pipe was replaced. The process ends with code 0 when it is late.

    Args:
        signals: the read end of the pipe.
        late: when to end, on the monotonic clock; None for never.
    """
    while True:
        left = None if late is None else max(0.0, late - time.monotonic())
        if not select.select([signals], [], [], left)[0]:
            os._exit(0)
        number = int.from_bytes(os.read(signals, 1))
        if number in (0, *STOP_SIGNALS):
            return number


def _forget_pipe() -> None:
    """Write no signal of a forked process to the pipe of its parent."""
    if _wakeup_fds:
        _replace_pipe(-1)


os.register_at_fork(after_in_child=_forget_pipe)
