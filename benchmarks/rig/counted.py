"""Counts the instructions of a benchmark's units of work; callgrind.py runs this below callgrind.

    valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=FILE ...
        python -m tierloop.benchmarks.rig.counted NAME FILE EVERY

Prints a JSON list: instructions a call, ours and the baseline's, of each of its COUNTED.
"""

import ctypes
import gc
import json
import mmap
import sys
from importlib import import_module
from itertools import count
from pathlib import Path

from tierloop.benchmarks.rig.hot_worker import Work

CALLS = 60
"""Counted: whole cycles of twelve ticks, in one of which a device asks."""

VALGRIND = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
"""x86-64: a function of one pointer that makes valgrind's client request (valgrind.h, amd64).

mov rax, rdi; xor edx, edx; rol rdi by 3, 13, 61 and 51, the preamble; xchg rbx, rbx, the request;
mov rax, rdx; ret.
"""

TOOL = ord("C") << 24 | ord("T") << 16
DUMP, START, STOP = TOOL, TOOL + 4, TOOL + 5
"""Requests of callgrind.h."""


class Callgrind:
    """The tool below which this process runs; `file`: its --callgrind-out-file."""

    def __init__(self, file: Path) -> None:
        self._page = mmap.mmap(
            -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        )
        self._page.write(VALGRIND)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._ask = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(at)
        self._dumps = (Path(f"{file}.{number}") for number in count(1))

    def instructions(self, work: Work, planted: int = 0) -> float:
        """Of a call, when the caches of the interpreter are warm and no garbage is collected.

        `planted`: so many calls more are done, and counted as if they were none.
        """
        for _ in range(CALLS):
            work()
        gc.collect()
        gc.disable()
        self._request(START)
        for _ in range(CALLS + planted):
            work()
        self._request(STOP)
        gc.enable()
        self._request(DUMP)
        dump = next(self._dumps)
        (total,) = (line for line in dump.read_text().splitlines() if line.startswith("totals:"))
        dump.unlink()
        return int(total.split()[1]) / CALLS

    def _request(self, what: int) -> None:
        words = (ctypes.c_ulong * 6)(what)
        self._ask(ctypes.addressof(words))


def main(name: str, file: str, every: str) -> None:
    """Counts all that this benchmark names."""
    callgrind, found = Callgrind(Path(file)), []
    for ours, bare in import_module(f"tierloop.benchmarks.{name}").COUNTED.values():
        planted = CALLS // int(every) if int(every) else 0
        found.append([callgrind.instructions(ours(), planted), callgrind.instructions(bare())])
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
