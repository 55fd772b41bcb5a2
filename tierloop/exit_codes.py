"""With what `tierloop` ends: the exit codes of its commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """128 + N: ended by signal N."""

    FINE = 0
    FAILED = 1
    WRONG_INPUT = 2
    BROKEN = 3
    """A budget is broken, or two checkouts differ."""
    INCONCLUSIVE = 4
    INTERRUPTED = 130
    TERMINATED = 143
