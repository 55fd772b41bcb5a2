"""The supervisor on small real processes: restart, back-off, order, stubbornness, families."""

import errno
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tierloop.stack.wall.processes import ROLES, Process
from tierloop.stack.wall.supervisor import BACK_OFF_S, Supervisor, end_session

IDLE = "import time; open(sys.argv[1], 'a').write('up '); time.sleep(60)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "open(sys.argv[1], 'a').write('up '); time.sleep(60)"
)
PARENT = (
    "import subprocess, time; p = subprocess.Popen([sys.executable, '-c', 'import time;"
    "time.sleep(60)']); open(sys.argv[1], 'w').write(str(p.pid) + ' '); time.sleep(60)"
)


class Stage:
    """A supervisor over scripts, and what it told."""

    def __init__(self, tmp_path: Path, *scripts: tuple[str, str, str], grace_s: float = 1.0):
        self.folder = tmp_path
        self.told: list[tuple[str, str, str]] = []
        processes = [
            Process(name, role, grace_s, self.command(name, script), b"{}")
            for name, role, script in scripts
        ]
        self.supervisor = Supervisor(processes, tmp_path, lambda *what: self.told.append(what))

    def command(self, name: str, script: str) -> tuple[str, ...]:
        return (sys.executable, "-c", f"import sys; {script}", str(self.folder / f"{name}.up"))

    def until(self, condition) -> None:
        """Steps until it is so. How long a failure takes is said here, not how fast the host is."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, self.told
            self.supervisor.step()
            time.sleep(0.01)

    def ups(self, name: str) -> list[str]:
        path = self.folder / f"{name}.up"
        return path.read_text().split() if path.exists() else []

    def pid(self, name: str) -> int:
        (child,) = (c for c in self.supervisor.children if c.process.name == name)
        assert child.popen is not None
        return child.popen.pid

    def stop(self, hurry: bool = False) -> None:
        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            return hurry

        self.supervisor.stop(wait)

    def names(self, what: str) -> list[str]:
        return [process for process, name, _ in self.told if name == what]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_child_is_started_again(tmp_path):
    stage = Stage(tmp_path, ("a", "device", IDLE), ("b", "edge", IDLE))
    stage.until(lambda: stage.ups("a") and stage.ups("b"))
    first, other = stage.pid("a"), stage.pid("b")
    os.kill(first, signal.SIGKILL)
    stage.until(lambda: len(stage.ups("a")) == 2)
    assert stage.pid("a") != first
    assert stage.pid("b") == other, "its neighbour was left alone"
    assert ("a", "died", "killed by SIGKILL") in stage.told
    assert stage.names("restarted") == ["a"]
    second = stage.pid("a")
    stage.stop()
    assert not alive(second)
    assert not alive(other)


def test_pauses_grow_when_a_child_dies_again_and_again(tmp_path):
    stage = Stage(tmp_path, ("a", "edge", "sys.exit(1)"))
    begin = time.monotonic()
    stage.until(lambda: len(stage.names("died")) == 4)
    assert time.monotonic() - begin > 0.2 + 0.4 + 0.8
    assert stage.supervisor.children[0].pause_s == 3.2
    stage.stop()


def test_a_users_mistake_in_a_child_is_not_tried_again(tmp_path):
    script = "print('noise'); print('port 7811 is in use', file=sys.stderr); sys.exit(2)"
    stage = Stage(tmp_path, ("a", "edge", script), ("b", "device", IDLE))
    stage.until(lambda: stage.supervisor.mistake is not None)
    time.sleep(BACK_OFF_S[0] + 0.1)
    stage.supervisor.step()
    assert stage.supervisor.mistake is stage.supervisor.children[0]
    assert stage.supervisor.mistake.last_line() == "port 7811 is in use"
    assert stage.supervisor.mistake.lives == 1
    stage.stop()


def test_after_its_first_report_no_exit_is_the_users_mistake(tmp_path):
    """A torn journal, a port that somebody took meanwhile: tried again, by name, with its words."""
    script = IDLE.replace("time.sleep(60)", "time.sleep(.3); print('port 7811 is in use'); exit(2)")
    stage = Stage(tmp_path, ("a", "edge", script), ("b", "device", IDLE))
    stage.until(lambda: stage.ups("a"))
    stage.supervisor.heard("a")
    stage.until(lambda: len(stage.names("restarted")) == 2)
    assert stage.supervisor.mistake is None
    assert ("a", "died", "exit 2: port 7811 is in use") in stage.told
    assert stage.names("died") == ["a", "a"], "the second life was never heard, but its name was"
    stage.stop()


def test_a_death_is_told_with_the_words_of_that_life_alone(tmp_path):
    script = (
        "open(sys.argv[1], 'a').write('up ');"
        "print('torn journal' if open(sys.argv[1]).read() == 'up ' else ''); sys.exit(1)"
    )
    stage = Stage(tmp_path, ("a", "edge", script))
    stage.until(lambda: len(stage.names("died")) == 2)
    said = [detail for _, name, detail in stage.told if name == "died"]
    assert said == ["exit 1: torn journal", "exit 1: it gave no reason"]
    stage.stop()


@pytest.mark.parametrize("end", ["time.sleep(60)", "exec('while True: pass')"])
def test_one_that_hangs_is_ended_and_started_again(tmp_path, end, monkeypatch):
    monkeypatch.setattr("tierloop.stack.wall.pulse.SILENCE_S", 0.3)
    stage = Stage(tmp_path, ("a", "device", IDLE.replace("time.sleep(60)", end)))
    stage.until(lambda: stage.ups("a"))
    first = stage.pid("a")
    stage.supervisor.heard("a")
    stage.until(lambda: stage.names("restarted"))
    assert not alive(first)
    assert [name for _, name, _ in stage.told] == ["started", "hung", "died", "restarted"]
    (why,) = (detail for _, name, detail in stage.told if name == "hung")
    assert why.startswith("no report for ")
    stage.stop()


def test_boots_grow_whatever_the_wall_clock_says(tmp_path, monkeypatch):
    wall = iter([5_000, 400, 9_000])
    host = SimpleNamespace(monotonic=time.monotonic, time_ns=lambda: next(wall, 0))
    monkeypatch.setattr("tierloop.stack.wall.supervisor.time", host)
    script = (
        "sys.stdin.readline(); boot = sys.stdin.readline().strip();"
        "open(sys.argv[1], 'a').write(boot + ' '); sys.exit(1)"
    )
    stage = Stage(tmp_path, ("a", "device", script))
    stage.until(lambda: len(stage.ups("a")) == 3)
    assert stage.ups("a") == ["5000", "5001", "9000"]
    monkeypatch.undo()
    stage.stop()


def test_the_end_comes_role_by_role_and_spares_no_one(tmp_path):
    stage = Stage(
        tmp_path, ("a", "device", IDLE), ("b", "device", DEAF), ("c", "edge", IDLE), grace_s=0.3
    )
    stage.until(lambda: all(stage.ups(n) for n in "abc"))
    pids = [stage.pid(n) for n in "abc"]
    stage.stop()
    assert not any(map(alive, pids))
    ended = [(p, what) for p, what, _ in stage.told if what in ("stopped", "killed")]
    assert ended == [("a", "stopped"), ("b", "killed"), ("c", "stopped")]


def test_even_if_nobody_stops_when_told_a_second_of_five_is_left_for_the_record():
    assert sum(role.grace_s for role in ROLES.values()) <= 4


def test_in_a_hurry_nobody_is_waited_for(tmp_path):
    stage = Stage(tmp_path, ("a", "device", DEAF), ("b", "edge", DEAF), grace_s=30)
    stage.until(lambda: stage.ups("a") and stage.ups("b"))
    begin = time.monotonic()
    stage.stop(hurry=True)
    assert time.monotonic() - begin < 30, "nobody was given the grace"
    assert stage.names("killed") == ["a", "b"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_a_child_started_ends_with_it(tmp_path, how):
    stage = Stage(tmp_path, ("a", "cloud", PARENT))
    stage.until(lambda: stage.ups("a"))
    (grandchild,) = map(int, stage.ups("a"))
    assert alive(grandchild)
    if how == "kill":
        os.kill(stage.pid("a"), signal.SIGKILL)
        stage.until(lambda: stage.names("died"))
    else:
        stage.stop()
    assert not alive(grandchild)
    stage.stop()


def test_a_session_without_members_is_already_ended():
    end_session(2**22 - 1)


def test_a_child_is_up_once_it_has_reported(tmp_path):
    stage = Stage(tmp_path, ("a", "device", IDLE), ("b", "edge", IDLE))
    assert stage.supervisor.children[0].state == "down"
    stage.until(lambda: stage.ups("a") and stage.ups("b"))
    assert [c.state for c in stage.supervisor.children] == ["starting", "starting"]
    stage.supervisor.heard("a")
    assert [c.state for c in stage.supervisor.children] == ["up", "starting"]
    os.kill(stage.pid("a"), signal.SIGKILL)
    stage.until(lambda: stage.names("restarted"))
    assert stage.supervisor.children[0].state == "starting"
    stage.stop()


def test_a_host_that_has_no_process_to_give_is_asked_again(tmp_path, monkeypatch):
    stage = Stage(tmp_path, ("a", "device", IDLE))

    def full(*_, **__):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as m:
        m.setattr("tierloop.stack.wall.supervisor.subprocess.Popen", full)
        stage.until(lambda: len(stage.names("start_failed")) == 2)
    assert stage.told[0] == ("a", "start_failed", "Resource temporarily unavailable")
    stage.until(lambda: stage.names("started"))
    stage.stop()


def test_what_does_not_end_though_killed_is_told_and_left(tmp_path, monkeypatch):
    stage = Stage(tmp_path, ("a", "device", DEAF), grace_s=0.1)
    stage.until(lambda: stage.ups("a"))
    pid, begin = stage.pid("a"), time.monotonic()
    popen = stage.supervisor.children[0].popen
    with monkeypatch.context() as m:
        m.setattr("tierloop.stack.wall.supervisor.END_S", 0.2)
        m.setattr("tierloop.stack.wall.supervisor.os.kill", lambda *_: None)
        stage.stop()
    assert time.monotonic() - begin < 5
    assert ("a", "left", f"process {pid} has not ended after SIGKILL") in stage.told
    assert end_session(pid) == []
    popen.wait(5)
