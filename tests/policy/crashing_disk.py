"""A disk that loses what was not synced, of a machine that may stop at any file operation."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(eq=False)
class Inode:
    data: bytes = b""
    synced: bytes = b""


class CrashingDisk:
    """Stands in for the `os` module: passes on to it, and knows what would survive a power cut.

    `crashes` has, for each operation, the directories that the next start may find if the machine
    stops right before it: nothing unsynced survives; names do but not their data; all does.
    """

    O_WRONLY, O_CREAT, O_TRUNC, O_RDONLY = os.O_WRONLY, os.O_CREAT, os.O_TRUNC, os.O_RDONLY

    def __init__(self, directory: Path) -> None:
        self.crashes: list[list[dict[str, bytes]]] = []
        found = directory.iterdir() if directory.exists() else ()
        self._names = {p.name: Inode(p.read_bytes(), p.read_bytes()) for p in found}
        self._durable = dict(self._names)
        self._open: dict[int, Inode | None] = {}

    def _step(self) -> None:
        self.crashes.append(list(self._after_crash()))

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._step()
        descriptor = os.open(path, flags, mode)
        inode = None
        if flags & os.O_CREAT:
            inode = self._names.setdefault(Path(path).name, Inode())
            inode.data = b"" if flags & os.O_TRUNC else inode.data
        self._open[descriptor] = inode
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        self._step()
        inode, part = self._open[descriptor], bytes(data[:600])
        assert inode is not None
        inode.data += part
        return os.write(descriptor, part)

    def fsync(self, descriptor: int) -> None:
        self._step()
        inode = self._open[descriptor]
        if inode is None:
            self._durable = dict(self._names)
        else:
            inode.synced = inode.data

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        self._step()
        os.replace(old, new)
        self._names[new.name] = self._names.pop(old.name)

    def unlink(self, path: Path) -> None:
        self._step()
        os.unlink(path)
        del self._names[path.name]

    def _after_crash(self) -> Iterator[dict[str, bytes]]:
        yield {name: inode.synced for name, inode in self._durable.items()}
        yield {name: inode.synced for name, inode in self._names.items()}
        yield {name: inode.data for name, inode in self._names.items()}


def lay_out(directory: Path, files: dict[str, bytes]) -> None:
    """Makes `directory` hold exactly these files."""
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, data in files.items():
        (directory / name).write_bytes(data)
