"""Carries what each process reports to the one that started the run, over a private socket."""

import contextlib
import os
import time

import zmq
from msgspec.structs import replace

from tierloop.contract.codec import Codec
from tierloop.contract.errors import SpecError, UserError, WireError
from tierloop.contract.messages import Report
from tierloop.contract.poses import Poses
from tierloop.contract.streams import DEPTH
from tierloop.link.address import check_address, private
from tierloop.link.sockets import HIGH_WATER, bounded, listen

LAST_WORDS_MS = 500
"""How long a process that ends waits for the roof to take its last report."""


class ReportSource:
    """A process's end of the way to the roof."""

    def __init__(self, address: str) -> None:
        check_address(address)
        self._codec = Codec()
        self._lost: dict[str, float] = {}
        self._context = zmq.Context()
        self._socket = bounded(zmq.PUSH, self._context)
        self._socket.setsockopt(zmq.SNDHWM, DEPTH[Report] + DEPTH[Poses])
        self._taken = True
        self._socket.connect(address)

    def send(self, report: Report) -> bool:
        """Hands a report over; False if it is lost, as when the queue to the roof is full.

        One that is too big goes without its words, of which a peer may have written some: counters
        and rows are told. Later reports say how many went so (`reports.unfit`) or not at all
        (`reports.dropped`).
        """
        report.counters.update(self._lost)
        self._taken = False
        try:
            data = self._codec.encode(report)
        except SpecError:
            self._lose("reports.unfit")
            if not (report.events or report.labels):
                return False
            return self.send(replace(report, events=(), labels={}))
        self._taken = self._put(data, "reports.dropped")
        return self._taken

    def show(self, poses: Poses) -> bool:
        """Hands poses over; False if they are lost, which later reports count.

        Those behind a report that was lost are not sent: room in the queue is for reports.
        """
        if not self._taken:
            self._lose("poses.dropped")
            return False
        try:
            data = self._codec.encode(poses)
        except SpecError:
            self._lose("poses.dropped")
            return False
        return self._put(data, "poses.dropped")

    def _put(self, data: bytes, lost: str) -> bool:
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            self._lose(lost)
            return False
        return True

    def _lose(self, name: str) -> None:
        self._lost[name] = self._lost.get(name, 0.0) + 1.0

    def close(self) -> None:
        """Waits until what is queued has left, LAST_WORDS_MS at most."""
        self._context.destroy(LAST_WORDS_MS)


class ReportSink:
    """The roof's end: collects the reports of all processes, and poses, over a private socket."""

    def __init__(self) -> None:
        self._codec = Codec()
        self.address = private(f"{os.getpid()} {time.monotonic_ns()}", "roof")
        self._socket = bounded(zmq.PULL)
        try:
            self._give_back = listen(self._socket, self.address)
        except UserError:
            self._socket.close()
            raise
        self.malformed = 0

    def poll(self, timeout_ms: float) -> list[Report | Poses]:
        """All that is at hand, after waiting up to `timeout_ms` for the first."""
        reports: list[Report | Poses] = []
        if not self._socket.poll(int(timeout_ms)):
            return reports
        with contextlib.suppress(zmq.Again):
            for _ in range(HIGH_WATER):
                data = b"".join(self._socket.recv_multipart(zmq.NOBLOCK))
                try:
                    message = self._codec.decode(data)
                except WireError:
                    self.malformed += 1
                    continue
                if isinstance(message, Report | Poses):
                    reports.append(message)
                else:
                    self.malformed += 1
        return reports

    def close(self) -> None:
        self._socket.close()
        self._give_back()
