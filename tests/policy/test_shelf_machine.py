"""The shelf under any order of releases, steps back, damage and restarts, on real files."""

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from policy_samples import SPEC, make_blob

from tierloop.policy.artefact import ArtefactError, digest
from tierloop.policy.journal import KEEP
from tierloop.policy.shelf import Shelf

BLOBS = {version: make_blob(version) for version in range(1, 10)}
NAMES = {version: digest(blob) for version, blob in BLOBS.items()}
VERSIONS = st.integers(1, 9)


class ShelfMachine(RuleBasedStateMachine):
    """The model: what could be gone back to, what was undone, what is staged, what is damaged."""

    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp())
        self.shelf = Shelf(self.directory / "shelf", SPEC, "numpy")
        self.stack: list[int] = []
        self.had: set[int] = set()
        self.undone: set[int] = set()
        self.staged: set[int] = set()
        self.damaged: set[int] = set()
        self.active: int | None = None
        self.entries: list[tuple[str, int]] = []

    def record(self, action: str, version: int) -> None:
        if action == "rollback":
            self.undone |= {v for v in self.had if v > version}
        self.had.add(version)
        self.stack = [*(v for v in self.stack if v < version), version][-KEEP:]
        self.staged = {v for v in self.staged if v > version}
        self.damaged &= {*self.stack, *self.staged}
        self.entries.append((action, version))
        self.active = version

    def refused(self, call, *arguments) -> str:
        try:
            call(*arguments)
        except ArtefactError as error:
            return error.reason
        return ""

    @rule(version=VERSIONS)
    def stage(self, version):
        self.shelf.stage(BLOBS[version], NAMES[version])
        self.staged.add(version)
        self.damaged.discard(version)

    @rule(version=VERSIONS)
    def activate(self, version):
        assert self.refused(self.shelf.activate, version) == self.activated(version)

    def activated(self, version: int) -> str:
        if version not in self.staged:
            return "unknown"
        if self.stack and self.stack[-1] == version:
            self.active = version
        elif version in self.undone:
            return "regress"
        elif version > max(self.stack, default=-1):
            self.record("activate", version)
        elif self.active is None:
            self.record("damaged", version)
        else:
            return "regress"
        return ""

    @rule(further=st.integers(1, 2))
    def release(self, further):
        """What a cloud does: the next version, staged and put in force."""
        version = max(self.stack, default=0) + further
        if version in BLOBS:
            self.stage(version)
            self.activate(version)

    @rule(version=st.none() | VERSIONS)
    def go_back(self, version):
        before = self.active
        given = self.refused(self.shelf.rollback, version)
        if version is None and len(self.stack) < 2:
            assert given == "no_previous"
            return
        wanted = version
        if version is None:
            whole = [v for v in self.stack[:-1] if v not in self.damaged]
            assert given == ("" if whole else "hash")
            if whole:
                self.record("rollback", whole[-1])
        elif not self.stack or wanted >= self.stack[-1]:
            assert given == self.activated(wanted)
        elif wanted in self.staged or (wanted in self.stack and wanted not in self.damaged):
            assert given == ""
            self.record("rollback", wanted)
        else:
            assert given == ("hash" if wanted in self.stack else "unknown")
            assert self.active == before

    @precondition(lambda self: self.stack or self.staged)
    @rule(which=st.integers(0, 20))
    def damage(self, which):
        there = sorted({*self.stack, *self.staged}, reverse=True)
        version = there[which % len(there)]
        path = self.directory / "shelf" / f"{NAMES[version]}.policy"
        if version not in self.damaged:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            self.damaged.add(version)

    @rule()
    def restart(self):
        self.shelf = Shelf(self.directory / "shelf", SPEC, "numpy")
        self.staged = set()
        self.damaged &= {*self.stack}
        whole = [v for v in self.stack if v not in self.damaged]
        self.active = whole[-1] if whole else None
        if whole and whole[-1] != self.stack[-1]:
            self.record("damaged", whole[-1])

    @invariant()
    def it_is_as_the_model(self):
        policy = self.shelf.active()
        assert (policy.version if policy else None) == self.active
        assert [(e.action, e.version) for e in self.shelf.journal] == self.entries
        for before, after in pairwise(self.shelf.journal):
            assert after.version > before.version or after.action != "activate"
        kept = {path.stem for path in (self.directory / "shelf").glob("*.policy")}
        assert kept == {NAMES[v] for v in {*self.stack, *self.staged}}

    def teardown(self):
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)


TestShelfMachine = pytest.mark.untraced(ShelfMachine.TestCase)
TestShelfMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
