"""How soon is a device up, and how much memory does each process hold?

Cold start: from the command of the supervisor's own process table to the Hello that a device sends
at its first tick, body and all. Memory: the peak resident size of every process in a short run of
the whole stack (Ray's own processes apart). Baseline: an interpreter that imports the same
libraries, and, for a device, loads the same robot into a world.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from tierloop.bench.budget import PROCESSES
from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig import servers
from tierloop.benchmarks.rig.harness import address, main
from tierloop.contract.budget import Metric
from tierloop.contract.messages import Hello
from tierloop.link.channel import Server
from tierloop.link.sockets import Poller, ServerSocket
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile, LinksConfig
from tierloop.stack.wall.processes import table

LIBRARIES = {
    "device": "numpy, msgspec, zmq, psutil, pybullet",
    "edge": "numpy, msgspec, zmq, psutil, sqlite3, onnxruntime",
    "cloud": "numpy, msgspec, zmq, psutil, sqlite3, onnx, onnxruntime, torch, ray, pybullet",
    "roof": "numpy, msgspec, zmq, psutil, rich, typer, matplotlib.figure, jinja2, pyarrow",
}
"""What each process stands on."""

BODY = (
    "import os, pybullet_data; pybullet.connect(pybullet.DIRECT); pybullet.loadURDF("
    "os.path.join(pybullet_data.getDataPath(), 'franka_panda/panda.urdf'), useFixedBase=True, "
    "flags=pybullet.URDF_IGNORE_VISUAL_SHAPES); "
)
"""The robot that a device simulates, and nothing around it."""

STARTS_MIN = 10
"""However short the time: a verdict needs eight blocks, and a start is one."""

RUN_MIN_S = 5.0
"""A run of the whole stack, if the time is shorter; the cloud has not fitted anything by then."""

START = Metric("cold_start", "ms", "device")
MEMORY = {role: Metric("memory", "MB", role) for role in PROCESSES}


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends a process, waits for it and closes its pipes, at the end."""
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def cold_start(folder: Path) -> float:
    """Milliseconds until a device says Hello."""
    edge = address()
    deployment = resolve(
        DeploymentFile(name="start", links=LinksConfig(device_edge=edge, edge_cloud=address()))
    )
    device = table(deployment, ("device",), folder, address(), time.monotonic_ns())[0]
    with closing(Server(ServerSocket(edge))) as server:
        poller = Poller([server.transport])  # type: ignore[list-item]
        begun_ns = time.perf_counter_ns()
        with ended(subprocess.Popen(device.command, stdin=subprocess.PIPE)) as process:
            assert process.stdin is not None
            process.stdin.write(device.begin(boot=1))
            process.stdin.flush()

            def heard() -> bool:
                if process.poll() is not None:
                    raise RuntimeError(f"the device ended at once, code {process.returncode}")
                found = server.poll(time.monotonic_ns())
                return any(isinstance(message, Hello) for _, message in found)

            servers.patiently(heard, partial(poller.wait, 20), "the device does not come up")
            spent_ns = time.perf_counter_ns() - begun_ns
            process.kill()
    return spent_ns / 1e6


def interpreter(role: str) -> tuple[float, float]:
    """Milliseconds until a bare interpreter has its libraries, and its resident megabytes."""
    world = BODY if role == "device" else ""
    said = f"import {LIBRARIES[role]}; {world}print(flush=True); input()"
    begun_ns = time.perf_counter_ns()
    with ended(
        subprocess.Popen(
            [sys.executable, "-c", said], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    ) as process:  # fmt: skip
        assert process.stdout is not None
        while (line := process.stdout.readline()) and line.strip():
            pass
        if not line:
            raise RuntimeError(f"an interpreter cannot import {LIBRARIES[role]}")
        return (time.perf_counter_ns() - begun_ns) / 1e6, resident_mb(process.pid)


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def peaks_mb(folder: Path, seconds: float) -> dict[str, float]:
    """The largest resident size of each role's processes in a run of the whole stack."""
    file = folder / "memory.toml"
    file.write_text(
        f'name = "memory"\n[links]\ndevice_edge = "{address()}"\nedge_cloud = "{address()}"\n'
    )
    command = [sys.executable, "-m", "tierloop", "run", str(file), "--for", str(seconds)]
    command += ["--out", str(folder / "record")]
    found: dict[str, float] = {}
    with ended(
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ) as run:
        while run.poll() is None:
            for role, pid in _pids(run.pid):
                try:
                    found[role] = max(found.get(role, 0.0), resident_mb(pid))
                except psutil.Error:
                    continue
            time.sleep(0.2)
    return found


def _pids(roof: int) -> list[tuple[str, int]]:
    found = [("roof", roof)]
    for child in psutil.Process(roof).children():
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if "tierloop.stack.wall.processes" in command:
            name = command[-1]
            found.append((name if name in PROCESSES else "device", child.pid))
    return found


def run(seconds: float) -> list[Series]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cold_start(folder)
        interpreter("device")
        started, plain = by_turns(
            seconds,
            lambda: [cold_start(folder)],
            lambda: [interpreter("device")[0]],
            least=STARTS_MIN,
        )
        held = peaks_mb(folder, max(seconds, RUN_MIN_S))
    series = [Series(START, started, plain, fresh=True)]
    for role, metric in MEMORY.items():
        ours = (np.array([held[role]]),) if role in held else ()
        bare = np.array([interpreter(role)[1]])
        series.append(Series(metric, ours, (bare,), exact=True))
    return series


BENCHMARK = Benchmark(
    "processes",
    "How soon is a device up, and how much memory does each process hold?",
    "an interpreter with the same libraries, and a device's with the same robot",
    (START, *MEMORY.values()),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
