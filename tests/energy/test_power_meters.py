"""Meters of the host, on what they were seen to print: powercap files, lines of two tools."""

import os
import time
from pathlib import Path

import pytest

from tierloop.stack.wall.power_meters import (
    HostMeters,
    Integral,
    MeterProgram,
    Rapl,
    nvml,
    tegrastats,
)

NANO = (
    "RAM 1738/3956MB (lfb 172x4MB) SWAP 0/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [7%@1224,0%@1224,3%@1224,7%@1224] EMC_FREQ 0% GR3D_FREQ 0% PLL@29C CPU@31C PMIC@100C "
    "GPU@31.5C AO@37C thermal@31.25C POM_5V_IN 1997/2089 POM_5V_GPU 40/57 POM_5V_CPU 203/289"
)
ORIN_NX = (
    "11-25-2026 00:40:01 RAM 2469/15523MB (lfb 2984x4MB) SWAP 0/7762MB (cached 0MB) "
    "CPU [2%@729,0%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305] CPU@46.9C SOC2@45.2C "
    "VDD_IN 4512mW/4487mW VDD_CPU_GPU_CV 640mW/652mW VDD_SOC 1280mW/1279mW"
)
AGX_ORIN = (
    "RAM 9000/30588MB (lfb 4x4MB) SWAP 0/15294MB (cached 0MB) EMC_FREQ 1%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off APE 174 cpu@52.968C/52.968C gpu@47.625C/47.625C "
    "VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW "
    "VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
XAVIER = (
    "RAM 1409/15821MB (lfb 2984x4MB) SWAP 0/7911MB (cached 0MB) CPU [0%@1190,off] EMC_FREQ 0% "
    "GR3D_FREQ 0% AO@34C GPU@34C GPU 0/0 CPU 620/620 SOC 930/930 CV 0/0 VDDRQ 310/310 "
    "SYS5V 1850/1850"
)


@pytest.mark.parametrize(
    ("line", "name", "watts"),
    [
        (NANO, "tegrastats.POM_5V_IN", 1.997),
        (ORIN_NX, "tegrastats.VDD_IN", 4.512),
        (AGX_ORIN, "tegrastats.rails", 5.139 + 3.268 + 5.5),
        (XAVIER, "tegrastats.rails", 0.62 + 0.93 + 0.31 + 1.85),
    ],
)
def test_tegrastats_of_every_generation(line, name, watts):
    assert tegrastats(line) == {name: pytest.approx(watts)}


def test_a_board_without_meters_says_nothing():
    assert tegrastats("RAM 250/490MB (lfb 17x1MB) cpu [61%,45%]@835 EMC 1%@408 APE 25") == {}


def test_nvml_lines():
    assert nvml("0, 61.53\n") == {"nvml.0": 61.53}
    assert nvml("1, 7.02") == {"nvml.1": 7.02}
    for line in ("0, [N/A]", "0, [Not Supported]", "", "No devices were found"):
        assert nvml(line) == {}


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = 262143328850) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return path


def test_rapl_counts_packages_once_and_over_a_wrap(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 262_143_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 0)
    zone(tmp_path, "intel-rapl:2", "psys", 0)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    (tmp_path / "intel-rapl").mkdir()
    rapl = Rapl(tmp_path)
    assert rapl.joules() == {"rapl.package-0": 0.0, "rapl.package-1": 0.0}
    (first / "energy_uj").write_text("3500000\n")
    (second / "energy_uj").write_text("671149\n")
    expected = {"rapl.package-0": 2.5, "rapl.package-1": 1.0}
    assert rapl.joules() == pytest.approx(expected)
    assert rapl.joules() == pytest.approx(expected), "nothing is counted twice"


def test_a_counter_that_cannot_be_read_is_left_out(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert Rapl(tmp_path).joules() == {}
    assert Rapl(tmp_path / "nowhere").joules() == {}


def test_powers_are_integrated_by_name_and_straight_between_samples():
    integral = Integral()
    for at_s, watts in ((0, {"a": 2.0}), (1, {"a": 4.0, "b": 1.0}), (3, {"a": 4.0, "b": 1.0})):
        integral.take(at_s * 10**9, watts)
    assert integral.joules == pytest.approx({"a": 3.0 + 8.0, "b": 2.0})


def tool(folder: Path, name: str, lines: str) -> None:
    """A program that prints a line every 20 ms, as the real one would."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nwhile :; do printf '%s\\n' '{lines}'; sleep 0.02; done\n")
    path.chmod(0o755)


def test_the_tools_are_read_while_they_run_and_ended(tmp_path, monkeypatch):
    tool(tmp_path, "nvidia-smi", "0, 50.0")
    tool(tmp_path, "tegrastats", ORIN_NX)
    zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 7)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    begun = time.monotonic()
    measured = HostMeters(tmp_path / "powercap")
    while measured.joules().get("nvml.0", 0.0) < 10.0 and time.monotonic() < begun + 20:
        time.sleep(0.02)
    spent_s = time.monotonic() - begun
    found = measured.joules()
    measured.close()
    assert set(found) == {"rapl.package-0", "nvml.0", "tegrastats.VDD_IN"}
    assert 10.0 <= found["nvml.0"] <= 50.0 * spent_s + 5.0
    assert 0.0 < found["tegrastats.VDD_IN"] < found["nvml.0"]
    assert all(stream._process.poll() is not None for stream in measured._streams)


def test_a_tool_that_ends_by_itself_is_no_trouble():
    stream = MeterProgram(("sh", "-c", "echo '0, 5.0'; sleep 0.05; echo '0, 5.0'"), nvml)
    stream._process.wait(10)
    stream._thread.join(10)
    assert 0.1 < stream.joules()["nvml.0"] < 10.0
    stream.close()


def test_a_host_without_meters_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    measured = HostMeters(tmp_path)
    assert measured.joules() == {}
    measured.close()
