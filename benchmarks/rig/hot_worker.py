"""Times the hot paths of the checkout in which it lies:

    PYTHONPATH=CHECKOUT python -P CHECKOUT/benchmarks/rig/hot_worker.py [SHARE]

`tierloop compare` runs the worker of either side and speaks this protocol with both, which may be
commits that lie months apart: a later commit adds to it and changes nothing. Every request and
every answer is one line of JSON.

    request                      answer
    ["?", 0, 0]                  {"paths": [NAME, ...]}: the names of its hot paths
    [NAME, CALLS, REPEATS]       {"us": [FIGURE, ...]}: as many figures as REPEATS, each the
                                 processor time of the thread in microseconds a call
    any other, or one that fails {"error": TEXT}

It ends when its input ends. With SHARE, that share of the codec's calls is done twice (the
self-test's planted slowdown). A worker of before 2026-11-29 does not know "?", and answers with an
error. Other work on the machine takes turns with the thread, which does not count, and pollutes
its caches, which does a little.
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
        try:
            answer = _answer(hot, ready, *json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(
    hot: dict[str, Callable[[], Work]], ready: dict[str, Work], name: str, calls: int, repeats: int
) -> dict[str, Any]:
    if name == "?":
        return {"paths": list(hot)}
    if name not in hot:
        return {"error": f"there is no hot path '{name}'"}
    if name not in ready:
        ready[name] = hot[name]()
        cpu_us(ready[name], calls, 2)
    return {"us": cpu_us(ready[name], calls, repeats)}


if __name__ == "__main__":
    main()
