"""Joules that the host's own meters say, where it has any: RAPL, NVML, tegrastats.

They are the whole machine's, simulated bodies and all, and stand beside the model's figures, never
among them. A meter that is not there, or not readable, is left out.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tierloop.contract.clock import NS_PER_S

POWERCAP = Path("/sys/class/powercap")
NVML = (
    "nvidia-smi",
    "--query-gpu=index,power.draw",
    "--format=csv,noheader,nounits",
    "-lms",
    "200",
)
"""NVML's power of each GPU, watts, a line each, five times a second."""
TEGRASTATS = ("tegrastats", "--interval", "200")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?(?:/\d+(?:mW)?){1,2}(?=\s|$)")
_WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that carry the whole module, by generation."""


class Rapl:
    """The energy counters of the processor packages in `powercap`, microjoules, which wrap."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._zones: dict[str, tuple[Path, int]] = {}
        self._last_uj: dict[str, int] = {}
        self._sum_uj: dict[str, int] = {}
        # Zones below a package (core, uncore, dram) and the platform's hold the same joules again.
        for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
            try:
                name = (zone / "name").read_text().strip()
                if not name.startswith("package"):
                    continue
                self._last_uj[name] = int((zone / "energy_uj").read_text())
                self._zones[name] = zone, int((zone / "max_energy_range_uj").read_text())
                self._sum_uj[name] = 0
            except (OSError, ValueError):
                continue

    def joules(self) -> dict[str, float]:
        """By package since the start; to be asked more often than a counter wraps (minutes)."""
        for name, (zone, range_uj) in self._zones.items():
            try:
                now_uj = int((zone / "energy_uj").read_text())
            except (OSError, ValueError):
                continue
            self._sum_uj[name] += (now_uj - self._last_uj[name]) % (range_uj + 1)
            self._last_uj[name] = now_uj
        return {f"rapl.{name}": uj * 1e-6 for name, uj in self._sum_uj.items()}


def nvml(line: str) -> dict[str, float]:
    """Watts by GPU of one line of nvidia-smi's; nothing if the GPU does not say."""
    index, _, watts = line.partition(",")
    try:
        return {f"nvml.{int(index)}": float(watts)}
    except ValueError:
        return {}


def tegrastats(line: str) -> dict[str, float]:
    """Watts of the module, of one line of tegrastats': of its input, else of all rails shown."""
    rails = {name: int(milliwatts) / 1e3 for name, milliwatts in _RAIL.findall(line)}
    for name in _WHOLE:
        if name in rails:
            return {f"tegrastats.{name}": rails[name]}
    return {"tegrastats.rails": sum(rails.values())} if rails else {}


class Integral:
    """Joules of powers that are sampled now and then: straight between two samples."""

    def __init__(self) -> None:
        self.joules: dict[str, float] = {}
        self._last: dict[str, tuple[int, float]] = {}

    def take(self, now_ns: int, watts: dict[str, float]) -> None:
        for name, power_w in watts.items():
            at_ns, before_w = self._last.get(name, (now_ns, power_w))
            mean_w = (before_w + power_w) / 2
            self.joules[name] = self.joules.get(name, 0.0) + mean_w * (now_ns - at_ns) / NS_PER_S
            self._last[name] = now_ns, power_w


class MeterProgram:
    """A program that prints powers, a line each time; a thread of its own reads it."""

    def __init__(self, command: tuple[str, ...], parse: Callable[[str], dict[str, float]]) -> None:
        self._integral = Integral()
        self._parse = parse
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._follow, name=command[0], daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._integral.take(time.monotonic_ns(), self._parse(line))

    def joules(self) -> dict[str, float]:
        return dict(self._integral.joules)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(1.0)
        assert self._process.stdout is not None
        self._process.stdout.close()


class HostMeters:
    """All meters of this host, from now on."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._rapl = Rapl(powercap)
        self._streams = [
            MeterProgram(command, parse)
            for command, parse in ((NVML, nvml), (TEGRASTATS, tegrastats))
            if shutil.which(command[0])
        ]

    def joules(self) -> dict[str, float]:
        """Since the start, by meter and what it measures; empty on a host without any."""
        found = self._rapl.joules()
        for stream in self._streams:
            found |= stream.joules()
        return found

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
