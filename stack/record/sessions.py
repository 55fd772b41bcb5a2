"""Finds the clients that had no session with their server when a run ended."""

from collections.abc import Collection, Iterator
from typing import Any

from tierloop.contract.clock import NS_PER_S
from tierloop.contract.counters import MESSAGES_RECEIVED, MESSAGES_SENT, member
from tierloop.link.waiting import SILENCE
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.faults.kinds import CLOUD, EDGE, ClockDrift, ClockStep, Crash, Hang, LinkFault
from tierloop.stack.record.record import ROOF, Happening, Life, Record

GRACE_NS = 5 * NS_PER_S
"""Time for a new session: after a client or its server has begun, after a fault is over."""
RESTART_NS = 15 * NS_PER_S
"""Time for a process that was there to be there again: the longest pause, and a start."""

_GAUGE = "session"
_WELCOMES = (member(MESSAGES_SENT, "welcome"), member(MESSAGES_RECEIVED, "welcome"))
_PARTING = (LinkFault, Crash, Hang, ClockStep, ClockDrift)
_STOPS = ("stopped", "killed")


def apart(record: Record, deployment: Deployment) -> list[str]:
    """The clients that are not in session with their server at the end, though they could be.

    A client whose own clock or server, or whose link, a fault of the timeline befalls until
    shortly before the end is not judged, nor one whose server was told to stop before it.
    """
    pairs = [*((robot, EDGE) for robot in deployment.scenario.robots), (EDGE, CLOUD)]
    began = {h.process: h.at_ns for h in _told(record) if h.name == "started"}
    ended = {h.process: h.at_ns for h in _told(record) if h.name in _STOPS}
    start_ns, last_ns = record.span_ns()
    newest = record.newest()
    found = []
    for client, server in pairs:
        end_ns = ended.get(client, last_ns)
        if ended.get(server, end_ns) < end_ns or _covered(
            deployment, client, server, end_ns - start_ns
        ):
            continue
        life = newest.get(client)
        if life is None:
            out = client in began and end_ns - began[client] > RESTART_NS
        else:
            out = _out(life, newest.get(server))
        found += [client] if out else []
    return found


def silence(record: Record, lasting: Collection[str]) -> list[dict[str, Any]]:
    """What processes said of peers that were not there, each sentence once; seconds of the run.

    `lasting`: the processes that were without a peer to the end; each is listed.
    """
    start_ns, _ = record.span_ns()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    last: dict[str, dict[str, Any]] = {}
    for h in record.happenings:
        if h.name == SILENCE:
            new = _said(h.process, h.detail, (h.at_ns - start_ns) / NS_PER_S)
            last[h.process] = found.setdefault((h.process, h.detail), new)
            last[h.process]["times"] += 1
    for process in lasting:
        last.setdefault(process, _said(process, "", 0.0))["lasting"] = True
    return [*found.values(), *(one for one in last.values() if not one["said"])]


def _said(process: str, words: str, at_s: float) -> dict[str, Any]:
    at_s = round(at_s, 3)
    return {"process": process, "said": words, "at_s": at_s, "times": 0, "lasting": False}


def alone(record: Record) -> list[str]:
    """The processes that were started and never were in session with anybody."""
    met = {h.process: False for h in _told(record) if h.name == "started"}
    for life in record.lives.values():
        if life.role != ROOF:
            counters = life.last.counters
            welcomed = [counters.get(name, 0) for name in _WELCOMES]
            met[life.process] = met.get(life.process, False) or any(welcomed)
    return [process for process, somebody in met.items() if not somebody]


def _told(record: Record) -> Iterator[Happening]:
    return (h for h in record.happenings if h.role == ROOF)


def _out(client: Life, server: Life | None) -> bool:
    """Whether a client was out of session for too long when it was last heard."""
    if _GAUGE not in client.last.gauges:
        return False  # a record of an earlier version
    end_ns, since_ns, grace_ns = client.last.at_ns, client.met_ns, GRACE_NS
    if server is not None:
        since_ns = max(since_ns, server.first_ns)
        grace_ns = GRACE_NS if end_ns - server.last.at_ns < GRACE_NS else RESTART_NS
    return end_ns - since_ns > grace_ns


def _covered(deployment: Deployment, client: str, server: str, end_ns: int) -> bool:
    """Whether a fault of the timeline keeps them apart, or did so until shortly before."""
    robots = deployment.scenario.robots
    for fault in deployment.fault:
        here = {client} if isinstance(fault, LinkFault) else {client, server}
        apart = isinstance(fault, _PARTING) and here & {*fault.names(robots)}
        if apart and fault.begin_ns <= end_ns <= fault.end_ns + GRACE_NS:
            return True
    return False
