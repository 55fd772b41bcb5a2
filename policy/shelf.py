"""The shelf: the verified policies a node keeps on disk, and which of them is active.

The journal is the only truth: a list of what was activated and undone, replaced as a whole by one
rename, so that a node killed at any instant finds the state before or after, never between. A
policy is on disk, verified and warm before the journal names it. Once active, a version gives way
only to a higher one that was never undone here, or to a recorded step back. A version that was
undone bars itself alone: one that had run ahead of the cloud's shuts out none of those that follow.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tierloop.contract.errors import UserError
from tierloop.contract.policy import Policy
from tierloop.contract.reading import reading
from tierloop.contract.specs import PolicySpec
from tierloop.policy import journal
from tierloop.policy.artefact import ArtefactError, digest, unpack
from tierloop.policy.engine import EngineName, load, warm_up
from tierloop.policy.journal import Action, Entry

GAP_MAX = 2**24
"""Versions missed at most: a cloud that releases every other second needs a year for as many."""


class _Ready(NamedTuple):
    digest: str
    policy: Policy


class Shelf:
    """Policies for one spec in one directory. One process and one thread at a time.

    Opening it verifies and warms up the active policy; if its file is damaged the last good one
    takes over, on record once the disk takes it. `pace` raises ArtefactError for a policy too slow
    to be staged; without it none is, and no clock is read. Raises UserError for a directory or
    journal it cannot use, SpecError if the directory belongs to another body.
    """

    def __init__(
        self,
        directory: Path,
        spec: PolicySpec,
        backend: EngineName = "auto",
        pace: Callable[[Policy], None] | None = None,
    ) -> None:
        self._directory = directory
        self._spec = spec
        self._backend = backend
        self._pace = pace
        self._staged: dict[int, _Ready] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _sync(directory.parent)
        except OSError as error:
            raise UserError(f"{directory}: cannot keep policies here: {error.strerror}") from None
        path = directory / journal.JOURNAL_FILE
        with reading(f"{path}: unreadable journal", f"remove {directory}"):
            self._journal = journal.read(path)
        self._active = self._reopen()
        self._tidy()

    @property
    def journal(self) -> tuple[Entry, ...]:
        """Every activation and step back, oldest first."""
        return tuple(self._journal)

    def active(self) -> Policy | None:
        """The policy to answer with, verified and warm; None before the first."""
        return self._active

    def reload(self) -> Policy | None:
        """The active policy again from disk, verified and warmed up, with an engine of its own."""
        self._active = self._reopen()
        return self._active

    def stage(self, blob: bytes, expected: str) -> Policy:
        """Verifies a blob against its digest and this spec, warms it up and puts it on disk.

        It is not active yet. Raises SpecError if it is for another body, ArtefactError for
        everything else that is wrong with it (reason disk: it could not be written); the active
        policy is untouched.
        """
        policy = self._verify(blob, expected)
        if self._pace is not None:
            self._pace(policy)
        _write(self._path(expected), blob)
        self._staged[policy.version] = _Ready(expected, policy)
        return policy

    def drop(self, version: int) -> None:
        """Forgets a staged policy that is not to become active after all, and its file."""
        self._staged.pop(version, None)
        self._tidy()

    def activate(self, version: int) -> Policy:
        """Makes a staged policy the active one; nothing happens if it already is.

        Raises ArtefactError with reason unknown (not staged), version (further above the active
        one than any cloud comes) or regress (not above it, or undone before). Where nothing on the
        shelf can be read any more, any version will do that was not rolled back, on record.
        """
        ready = self._staged.get(version)
        if ready is None:
            raise ArtefactError("unknown", f"version {version} is not staged")
        stack = journal.stack(self._journal)
        if stack and ready.digest == stack[-1].digest:
            self._active = ready.policy
            return ready.policy
        top = stack[-1].version if stack else -1
        if version > top + GAP_MAX:
            raise ArtefactError("version", f"{version} after {top}; no cloud has come that far")
        if version in journal.undone(self._journal):
            raise ArtefactError("regress", f"version {version} was undone")
        if version > top:
            return self._record("activate", version, ready)
        if self._active is not None:
            raise ArtefactError("regress", f"version {version} after {top}")
        return self._record("damaged", version, ready)

    def rollback(self, version: int | None = None) -> Policy:
        """Goes back to the last policy before that can be read, or to `version`, staged or kept.

        Where `version` is no step back, because this shelf never had what is undone, it is
        activated. Raises ArtefactError with reason no_previous, unknown, missing or hash.
        """
        stack = journal.stack(self._journal)
        if version is None:
            failure = ArtefactError("no_previous", "nothing to go back to")
            for entry in reversed(stack[:-1]):
                try:
                    ready = _Ready(entry.digest, self._load(entry.digest))
                except ArtefactError as error:
                    failure = error
                    continue
                return self._record("rollback", entry.version, ready)
            raise failure
        if not stack or version >= stack[-1].version:
            return self.activate(version)
        kept = {e.version: e.digest for e in stack}
        if version in self._staged:
            ready = self._staged[version]
        elif version in kept:
            ready = _Ready(kept[version], self._load(kept[version]))
        else:
            raise ArtefactError("unknown", f"version {version} is neither staged nor kept")
        return self._record("rollback", version, ready)

    def _record(self, action: Action, version: int, ready: _Ready) -> Policy:
        entry = self._entry(action, version, ready.digest)
        entries = journal.shortened([*self._journal, entry])
        _write(self._directory / journal.JOURNAL_FILE, journal.packed(entries))
        self._journal, self._active = entries, ready.policy
        self._staged = {v: r for v, r in self._staged.items() if v > version}
        self._tidy()
        return ready.policy

    def _entry(self, action: Action, version: int, name: str) -> Entry:
        stack = journal.stack(self._journal)
        instead_of = stack[-1].version if stack else -1
        return Entry(action=action, version=version, digest=name, instead_of=instead_of)

    def _reopen(self) -> Policy | None:
        """The last good policy; where the disk is full the next entry puts it on record."""
        stack = journal.stack(self._journal)
        for entry in reversed(stack):
            try:
                policy = self._load(entry.digest)
            except ArtefactError:
                continue
            if entry is not stack[-1]:
                try:
                    self._record("damaged", entry.version, _Ready(entry.digest, policy))
                except ArtefactError:
                    self._journal.append(self._entry("damaged", entry.version, entry.digest))
            return policy
        return None

    def _verify(self, blob: bytes, expected: str) -> Policy:
        if digest(blob) != expected:
            raise ArtefactError("hash", "the blob is not what was offered")
        artefact = unpack(blob)
        who = f"policy {artefact.manifest.version} for {self._directory}"
        self._spec.require(artefact.manifest.spec, who)
        policy = load(artefact, self._backend)
        warm_up(policy)
        return policy

    def _load(self, name: str) -> Policy:
        try:
            blob = self._path(name).read_bytes()
        except OSError as error:
            raise ArtefactError("missing", str(error)) from None
        return self._verify(blob, name)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.policy"

    def _tidy(self) -> None:
        """Removes what neither the journal nor a staged policy needs."""
        needed = {e.digest for e in journal.stack(self._journal)} | {
            r.digest for r in self._staged.values()
        }
        for path in self._directory.iterdir():
            if path.suffix == ".new" or (path.suffix == ".policy" and path.stem not in needed):
                with suppress(OSError):
                    os.unlink(path)


def _write(path: Path, data: bytes) -> None:
    """Replaces a file as a whole; on disk before it returns. Raises ArtefactError (disk)."""
    fresh = path.with_suffix(".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(fresh, path)
        _sync(path.parent)
    except OSError as error:
        raise ArtefactError("disk", str(error)) from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
