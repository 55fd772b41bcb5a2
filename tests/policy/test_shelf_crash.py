"""A node that dies at any file operation, or by kill -9, finds a whole policy when it is back."""

import os
import signal
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pytest
from crashing_disk import CrashingDisk, lay_out
from policy_samples import SPEC, make_blob, make_features

from tierloop.policy import shelf as module
from tierloop.policy.artefact import digest
from tierloop.policy.journal import KEEP
from tierloop.policy.mlp import Mlp
from tierloop.policy.shelf import Shelf

LIFE = [1, 2, "back", 3, 4, 5, 6, "back", 7]
AFTER = [1, 2, 1, 3, 4, 5, 6, 5, 7]
"""Versions released in turn, and steps back; the version active after each."""

BLOBS = {version: make_blob(version) for version in range(1, 10)}


def step(shelf: Shelf, action: int | str) -> None:
    if action == "back":
        shelf.rollback()
    else:
        shelf.stage(BLOBS[action], digest(BLOBS[action]))
        shelf.activate(action)


def assert_whole(shelf: Shelf, allowed: set[int]) -> None:
    policy = shelf.active()
    if policy is None:
        assert -1 in allowed
        assert shelf.journal == ()
        return
    assert policy.version in allowed
    assert shelf.journal[-1].version == policy.version
    assert all(entry.action != "damaged" for entry in shelf.journal)
    x = make_features(SPEC, 2)
    expected = Mlp.random(SPEC, (8,), seed=policy.version).forward(x)
    assert np.array_equal(policy.act(x), expected)


def test_a_crash_at_every_operation_leaves_the_old_policy_or_the_new(tmp_path, monkeypatch):
    """Of one life, the disks that a crash may leave; what the next start makes of each."""
    directory = tmp_path / "shelf"
    lay_out(directory, {})
    disk, ends = CrashingDisk(directory), []
    with monkeypatch.context() as patch:
        patch.setattr(module, "os", disk)
        shelf = Shelf(directory, SPEC, "numpy")
        for action in LIFE:
            step(shelf, action)
            ends.append(len(disk.crashes))
    assert_whole(Shelf(directory, SPEC, "numpy"), {7})
    assert len(disk.crashes) > 100
    seen = set()
    for done, files in left_by(disk, ends):
        old, new = AFTER[done - 1] if done else -1, AFTER[done]
        lay_out(directory, files)
        shelf = Shelf(directory, SPEC, "numpy")
        assert_whole(shelf, {old, new})
        seen.add(shelf.active() and (done, shelf.active().version))
        step(shelf, 9)
        assert_whole(Shelf(directory, SPEC, "numpy"), {9})
    both = {(done, v) for done in range(1, len(LIFE)) for v in (AFTER[done - 1], AFTER[done])}
    assert both <= seen, "each step must have been seen to fail both ways"


def left_by(disk: CrashingDisk, ends: list[int]) -> list[tuple[int, dict[str, bytes]]]:
    """How many steps were done, and a directory that a crash then may leave; each pair once."""
    pairs = [
        (bisect_right(ends, number), files)
        for number, crash in enumerate(disk.crashes)
        for files in crash
    ]
    return list({(done, frozenset(files.items())): (done, files) for done, files in pairs}.values())


def test_a_crash_while_recovering_from_damage_recovers_at_the_next_start(tmp_path, monkeypatch):
    directory = tmp_path / "shelf"
    shelf = Shelf(directory, SPEC, "numpy")
    step(shelf, 1)
    step(shelf, 2)
    (directory / f"{digest(BLOBS[2])}.policy").write_bytes(b"rot")
    disk = CrashingDisk(directory)
    with monkeypatch.context() as patch:
        patch.setattr(module, "os", disk)
        Shelf(directory, SPEC, "numpy")
    assert len(disk.crashes) > 6
    for _, files in left_by(disk, []):
        lay_out(directory, files)
        shelf = Shelf(directory, SPEC, "numpy")
        assert shelf.active().version == 1
        assert [e.action for e in shelf.journal] == ["activate", "activate", "damaged"]


CHILD = """
import sys
from pathlib import Path
from policy_samples import SPEC, make_blob
from tierloop.policy.artefact import digest
from tierloop.policy.shelf import Shelf

shelf = Shelf(Path(sys.argv[1]), SPEC, "numpy")
version = shelf.active().version if shelf.active() else 0
while True:
    version += 1
    blob = make_blob(version)
    shelf.stage(blob, digest(blob))
    print("going", version, flush=True)
    shelf.activate(version)
    print("done", version, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 7, 12])
def test_killed_with_signal_9_it_comes_back_whole(tmp_path, lines):
    """The kill lands anywhere in the steps that follow; wherever that is, the claim must hold."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent.parent), str(here)])
    said: list[str] = []
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        ) as child:
            said += [child.stdout.readline() for _ in range(lines)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        shelf = Shelf(tmp_path, SPEC, "numpy")
        words = [line.split() for line in said]
        done = max((int(v) for word, v in words if word == "done"), default=-1)
        going = max(int(v) for word, v in words if word == "going")
        assert_whole(shelf, {done, going})
        assert len(list(tmp_path.glob("*.policy"))) <= KEEP
