"""The doctor says what a run would meet, with the remedy in the same line."""

import os
import socket

import pytest

from tierloop.cli import doctor
from tierloop.stack.machine import processors


def examined(capsys, file=None):
    good = doctor.examine(file)
    return good, capsys.readouterr().out


def test_it_counts_the_processors_that_may_be_used(capsys):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processors() == 1
        _, said = examined(capsys)
    finally:
        os.sched_setaffinity(0, before)
    line = next(line for line in said.splitlines() if "processors" in line)
    assert line.split()[2] == "1"
    assert ("limited by affinity" in line) == (os.cpu_count() > 1)


def test_a_quota_of_a_control_group_counts(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "processors", lambda: 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2**30)
    _, said = examined(capsys)
    assert "3 of 16 (limited by affinity or a control group)" in said
    assert "1.0 of " in said


def test_shared_memory_without_room_is_a_note_and_no_failure(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "SHARED", tmp_path / "gone")
    good, said = examined(capsys)
    assert good
    (line,) = (line for line in said.splitlines() if "shared memory" in line)
    assert line.startswith("note")
    assert "use the disk instead, which is slower" in line


def test_without_a_temporary_folder_it_says_what_would_help(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "free_bytes", lambda _: 0)
    good, said = examined(capsys)
    assert not good
    (line,) = (line for line in said.splitlines() if "temporary folder" in line)
    assert line.startswith("FAIL")
    assert "TMPDIR" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_in_use_is_a_failure_that_names_its_key(capsys, tmp_path, host):
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    try:
        server = socket.create_server((host.strip("[]"), 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    with server:
        address = f"tcp://{host}:{server.getsockname()[1]}"
        (tmp_path / "d.toml").write_text(f'name = "d"\n[links]\nedge_cloud = "{address}"\n')
        good, said = examined(capsys, tmp_path / "d.toml")
    assert not good
    (line,) = (line for line in said.splitlines() if address in line)
    assert line.startswith("FAIL")
    assert f"links.edge_cloud: {address}: the port is in use" in line
