"""Times the hot paths of any checkout, with the measuring code that lies here:

    PYTHONPATH=CHECKOUT python -P hot_worker.py

reads requests, one a line of JSON ([name, calls, repeats]), and answers each with as many figures
as repeats: processor time of the thread in microseconds a call. Other work on the machine takes
turns with the thread, which does not count, and pollutes its caches, which does a little.
"""

import gc
import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierloop.contract.codec import Codec

Work = Callable[[], object]


def cpu_us(work: Work, calls: int, repeats: int) -> list[float]:
    """Processor time of this thread in microseconds a call, one figure a repeat."""
    figures = []
    gc.disable()
    try:
        for _ in range(repeats):
            begun_ns = time.thread_time_ns()
            for _ in range(calls):
                work()
            figures.append((time.thread_time_ns() - begun_ns) / calls / 1e3)
    finally:
        gc.enable()
    return figures


def plant(share: float) -> None:
    """Makes the codec do this share of its calls twice; 0 wraps it alike and changes nothing."""
    every = round(1 / share) if share else 0

    def wrapped(method: Any) -> Any:
        count = 0

        def call(self: Codec, value: Any) -> Any:
            nonlocal count
            count += 1
            if count == every:
                count = 0
                method(self, value)
            return method(self, value)

        return call

    setattr(Codec, "encode", wrapped(Codec.encode))  # noqa: B010
    setattr(Codec, "decode", wrapped(Codec.decode))  # noqa: B010


def main() -> None:
    """Answers requests until standard input ends."""
    if len(sys.argv) > 1:
        plant(float(sys.argv[1]))
    hot = runpy.run_path(str(Path(__file__).with_name("hot.py")))["HOT"]
    ready: dict[str, Work] = {}
    for line in sys.stdin:
        name, calls, repeats = json.loads(line)
        try:
            if name not in ready:
                ready[name] = hot[name]()
                cpu_us(ready[name], calls, 2)
            answer: dict[str, Any] = {"us": cpu_us(ready[name], calls, repeats)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
