"""Wraps a robot body whose sensors freeze or fall silent, or whose clock is wrong."""

from collections.abc import Callable

from tierloop.contract.body import Body, Embodiment, Episode, Reading, Scan
from tierloop.stack.faults.clock import CLOCK, Skew
from tierloop.stack.faults.kinds import Faults, SensorDropout, SensorFreeze
from tierloop.stack.faults.timeline import spans, within

BODY = (*CLOCK, SensorFreeze, SensorDropout)


def faulty_body(embodiment: Embodiment, faults: Faults, began_ns: int) -> Embodiment:
    """The embodiment of a device with these faults."""
    if not any(isinstance(f, BODY) for f in faults):
        return embodiment
    return embodiment._replace(body=FaultyBody(embodiment.body, faults, began_ns))


class FaultyBody:
    """A body whose sensors freeze or fall silent, and whose stamps are those of its host's clock.

    What the world judges (`outcomes`) is no sensor's and always comes through.
    """

    def __init__(self, body: Body, faults: Faults, began_ns: int) -> None:
        self.spec = body.spec
        self.tool_position, self.write = body.tool_position, body.write
        self.hold, self.close = body.hold, body.close
        self._body = body
        self._skew = Skew(faults, began_ns)
        self._frozen = spans(faults, SensorFreeze, began_ns)
        self._silent = spans(faults, SensorDropout, began_ns)
        self._last: Reading | None = None

    def read(self, now_ns: int) -> Reading:
        true_ns = self._skew.true_ns(now_ns)
        now = self._stamped(self._body.read(true_ns))
        last = self._last
        if last is not None and within(self._silent, true_ns):
            return last._replace(scans=(), outcomes=now.outcomes)
        if last is not None and within(self._frozen, true_ns):
            return last._replace(captured_ns=now.captured_ns, scans=(), outcomes=now.outcomes)
        self._last = now
        return now

    def _stamped(self, reading: Reading) -> Reading:
        own = self._skew.own_ns
        return reading._replace(
            captured_ns=own(reading.captured_ns),
            scans=tuple(_scan(scan, own) for scan in reading.scans),
            outcomes=tuple(_episode(episode, own) for episode in reading.outcomes),
        )


def _scan(scan: Scan, own: Callable[[int], int]) -> Scan:
    return scan._replace(captured_ns=own(scan.captured_ns))


def _episode(episode: Episode, own: Callable[[int], int]) -> Episode:
    return episode._replace(started_ns=own(episode.started_ns), ended_ns=own(episode.ended_ns))
