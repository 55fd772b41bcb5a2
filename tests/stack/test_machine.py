"""What of a machine may be used, as control groups of either version and affinity have it."""

import os
from math import inf

import psutil
import pytest

from tierloop.stack import machine
from tierloop.stack.machine import memory_bytes, processors, quota

V2, V1 = "0::/a/b\n", "3:memory:/a\n2:cpu,cpuacct:/a/b\n1:cpuset:/\n"


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def write(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "groups" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {}, inf),
        (V2, {"a__b__cpu_dot_max": "max 100000\n"}, inf),
        (V2, {"a__b__cpu_dot_max": "250000 100000\n"}, 2.5),
        (V2, {"a__cpu_dot_max": "100000 100000\n", "a__b__cpu_dot_max": "max 100000"}, 1.0),
        (V2, {"cpu_dot_max": "150000 100000\n"}, 1.5),
        (V2, {"unified__a__cpu_dot_max": "50000 100000\n"}, 0.5),
        (V1, {"cpu,cpuacct__a__b__cpu_dot_cfs_quota_us": "-1",
              "cpu,cpuacct__a__b__cpu_dot_cfs_period_us": "100000"}, inf),
        (V1, {"cpu,cpuacct__a__cpu_dot_cfs_quota_us": "300000",
              "cpu,cpuacct__a__cpu_dot_cfs_period_us": "100000"}, 3.0),
        (V1, {"cpu__cpu_dot_cfs_quota_us": "200000", "cpu__cpu_dot_cfs_period_us": "100000"}, 2.0),
        ("", {"cpu_dot_max": "100000 100000\n"}, inf),
        (V2, {"cpu_dot_max": "nonsense\n"}, inf),
    ],
)  # fmt: skip
def test_the_tightest_quota_of_a_group_or_one_above_it_holds(groups, own, files, expected):
    groups(own, **files)
    assert quota() == expected
    assert processors() == max(1, int(min(8, expected)))


def test_no_more_processors_than_the_affinity_gives(groups, monkeypatch):
    groups(V2, cpu_dot_max="400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert processors() == 1


def test_without_any_word_of_groups_the_machine_is_all_ours(groups):
    assert quota() == inf
    assert memory_bytes() == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("own", "name", "text"),
    [
        (V2, "a__memory_dot_max", "1048576\n"),
        (V1, "memory__a__memory_dot_limit_in_bytes", "1048576\n"),
    ],
)
def test_memory_is_what_the_groups_allow(groups, own, name, text):
    groups(own, **{name: text})
    assert memory_bytes() == 2**20


def test_memory_without_a_limit_is_the_machines(groups):
    groups(V2, a__memory_dot_max="max\n")
    assert memory_bytes() == psutil.virtual_memory().total
