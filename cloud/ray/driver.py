"""The one door to Ray: a process of its own that drives a cluster as its parent orders.

Orders come through a pair of sockets that only parent and child hold, and results go back there.
The cluster is this process's: where the pipe breaks both end, and a failed start leaves nothing.
"""

import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from tierloop.cloud.backend import Fit, Hands
from tierloop.cloud.rollout import Play

RETRIES = 3
"""How often Ray repeats a call whose worker died under it; every call may be repeated."""


class Start(NamedTuple):
    """The first order: the arguments of ray.init, and the workers to raise there."""

    where: dict[str, Any]
    workers: int
    niceness: int
    about: tuple[Any, ...]


class HandsActor(Hands):
    """Hands in a process of their own, which yields to others on its machine."""

    def __init__(self, niceness: int, *about: Any) -> None:
        least = max(niceness, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, least)
        super().__init__(*about)

    def pid(self) -> int:
        return os.getpid()


class RayDriver:
    """Jobs on the actors of a cluster. A worker that dies is restarted and its job repeated."""

    def __init__(self, start: Start, step: Callable[[], None]) -> None:
        """Calls `step` when Ray is loaded, when there is a cluster, and when its workers are up."""
        import ray

        step()
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(log_to_driver=False, configure_logging=False, **start.where)
        step()
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(HandsActor)
        self._workers = [actor.remote(start.niceness, *start.about) for _ in range(start.workers)]
        self.pids()
        step()

    def pids(self) -> list[int]:
        """The workers' process numbers."""
        import ray

        return list(ray.get([worker.pid.remote() for worker in self._workers]))

    def play(self, jobs: Sequence[Play]) -> list[Any]:
        return self._spread("play", jobs)

    def fit(self, job: Fit) -> Any:
        return self._spread("fit", [job])[0]

    def _spread(self, method: str, jobs: Sequence[Any]) -> list[Any]:
        """Each job to the next idle worker; results in the jobs' order."""
        import ray

        waiting, idle = deque(enumerate(jobs)), list(self._workers)
        running: dict[Any, tuple[int, Any]] = {}
        results: list[Any] = [None] * len(jobs)
        while waiting or running:
            while waiting and idle:
                at, job = waiting.popleft()
                worker = idle.pop()
                running[getattr(worker, method).remote(job)] = at, worker
            for ref in ray.wait(list(running))[0]:
                at, worker = running.pop(ref)
                results[at] = ray.get(ref)
                idle.append(worker)
        return results


def main() -> None:
    """Obeys the pipe whose descriptor is the only argument, until it breaks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, orders = Connection(int(sys.argv[1])), SimpleQueue[Any]()
    Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    start: Start = orders.get()
    try:
        driver = RayDriver(start, lambda: pipe.send((True, None)))
    except Exception as error:
        pipe.send((False, _told(error)))
        return
    while True:
        name, arguments = orders.get()
        try:
            answer = True, getattr(driver, name)(*arguments)
        except Exception as error:
            answer = False, _told(error)
        pipe.send(answer)


def _told(error: Exception) -> str:
    """In words: an exception of Ray's would need Ray where it is read."""
    return f"{error}" or type(error).__name__


def _listen(pipe: Connection, orders: SimpleQueue[Any]) -> None:
    """Passes orders on; the end of the pipe is the end of this process and all it started."""
    try:
        while True:
            orders.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)
