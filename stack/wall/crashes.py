"""Faults on the wall clock that come from outside a process: its supervisor kills it.

All others a process applies to itself: it holds the whole timeline and the instant at which the run
began.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tierloop.stack.faults.kinds import Crash, Faults
from tierloop.stack.faults.timeline import told


class Nemesis:
    """The supervisor's part: it kills what is to crash, and tells of its processes' faults.

    `crash(process, seconds)` kills a process and keeps it down; `tell(target, name, detail)` puts
    an event on record.
    """

    def __init__(
        self,
        faults: Faults,
        robots: Sequence[str],
        processes: Iterable[str],
        began_ns: int,
        crash: Callable[[str, float], None],
        tell: Callable[[str, str, str], None],
    ) -> None:
        here = set(processes)
        mine = tuple(f for f in faults if here & {*f.names(robots)})
        crashes = [f for f in mine if isinstance(f, Crash)]
        self._crashes = deque(
            sorted((f.begin_ns, name, f.for_s) for f in crashes for name in f.names(robots))
        )
        self._told = deque(told(mine))
        self._began_ns, self._crash, self._tell = began_ns, crash, tell

    def step(self, now_ns: int) -> None:
        """Does what is due."""
        since_ns = now_ns - self._began_ns
        while self._told and self._told[0][0] <= since_ns:
            _, target, name, detail = self._told.popleft()
            self._tell(target, name, detail)
        while self._crashes and self._crashes[0][0] <= since_ns:
            _, process, for_s = self._crashes.popleft()
            self._crash(process, for_s)
