"""Real-time settings of a control process: priority, processor, memory, garbage collector."""

import ctypes
import gc
import os
import time
from collections.abc import Callable

FIFO_PRIORITY = 20
_MLOCK_CURRENT_FUTURE_ON_FAULT = 1 | 2 | 4
_PR_SET_TIMERSLACK = 29


def habits(ask: bool, core: int | None) -> dict[str, str]:
    """Freezes the garbage collector; with `ask` also asks for what the system may refuse.

    `core` is the processor to stay on. Call it before any thread starts: threads made later
    inherit scheduling and affinity.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    got = {"gc": "frozen"}
    if ask:
        got["scheduler"] = _try(_fifo, f"fifo {FIFO_PRIORITY}")
        got["memory"] = _try(_lock_memory, "locked")
        got["timer_slack"] = _try(_timer_slack, "1 ns")
        if core is not None:
            got["affinity"] = _try(lambda: os.sched_setaffinity(0, {core}), f"core {core}")
    return got


def _fifo() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))


def _lock_memory() -> None:
    """What was touched stays in memory; what never is, as most of a thread's stack, takes none."""
    _check(ctypes.CDLL(None, use_errno=True).mlockall(_MLOCK_CURRENT_FUTURE_ON_FAULT))


def _timer_slack() -> None:
    _check(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _try(action: Callable[[], None], got: str) -> str:
    try:
        action()
    except (OSError, AttributeError) as error:
        return f"refused: {error}"
    return got


def sleep_until(deadline_ns: int) -> None:
    """Sleeps until an instant of the monotonic clock; returns at once if it is past."""
    remaining_ns = deadline_ns - time.monotonic_ns()
    if remaining_ns > 0:
        time.sleep(remaining_ns / 1e9)
