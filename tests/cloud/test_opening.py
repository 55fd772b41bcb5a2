"""A store that cannot be opened is told in one line and tried again; nothing ends."""

import sqlite3
from pathlib import Path

import pytest

from tierloop.cloud.lineage import Policies, PolicyRecord
from tierloop.cloud.opening import opened
from tierloop.cloud.store import Store
from tierloop.contract.errors import UserError

FIRST = PolicyRecord(3, "d", (), "released", {}, b"blob", ())


class Clock:
    def now_ns(self) -> int:
        return 7


class Reporter(list):
    send = list.append


def open_after(path: Path, mend, failures: int = 3):
    """Opens with a disk that is mended after so many tries; the store and what was reported."""
    reports, pauses = Reporter(), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == failures:
            mend()

    asked = []
    store, newest = opened(path, lambda: asked.append(1) or FIRST, 1, Clock(), reports, pause)
    assert len(pauses) == failures == len(reports)
    assert newest == FIRST
    assert asked == [1], "what is judged for seconds is judged once"
    return store, reports


def test_a_store_that_is_no_database_is_told_once_and_kept_until_it_is_mended(tmp_path, capsys):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"no database" * 100)
    store, reports = open_after(path, path.unlink)
    store.close()
    said = f"{path}: file is not a database; nothing is stored or learnt until it can be opened\n"
    assert capsys.readouterr().out == said
    assert [(e.name, e.detail) for r in reports for e in r.events] == [
        ("store_failed", said.strip()[:200])
    ]
    assert {r.labels["phase"] for r in reports} == {"waiting for its disk"}


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch, capsys):
    full = sqlite3.OperationalError("database or disk is full")

    def connect(*_, **__):
        raise full

    monkeypatch.setattr(sqlite3, "connect", connect)
    store, _ = open_after(tmp_path / "store.sqlite", monkeypatch.undo)
    store.close()
    assert capsys.readouterr().out.count("database or disk is full") == 1


def test_a_place_that_is_no_folder_is_waited_for(tmp_path, capsys):
    (tmp_path / "cloud").touch()
    store, _ = open_after(tmp_path / "cloud" / "store.sqlite", (tmp_path / "cloud").unlink)
    store.close()
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(("version", "read"), [(0, True), (1, True), (2, False)])
def test_yesterdays_store_is_read_and_tomorrows_refused(tmp_path, version, read):
    path = tmp_path / "store.sqlite"
    Store(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version={version}")
    database.close()
    if read:
        opened(path, lambda: None, 1, Clock(), None)[0].close()
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        database.close()
    else:
        with pytest.raises(
            UserError, match="the store has version 2, but this tierloop reads version 1"
        ):
            opened(path, lambda: None, 1, Clock(), None)


def test_a_disk_that_fills_up_with_the_first_policy_asks_for_it_no_second_time(
    tmp_path, monkeypatch
):
    def record(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Policies, "record", record)
    open_after(tmp_path / "store.sqlite", monkeypatch.undo)[0].close()


def test_a_store_that_has_a_release_asks_for_no_first(tmp_path):
    path = tmp_path / "store.sqlite"
    opened(path, lambda: FIRST, 1, Clock(), None)[0].close()

    def begin() -> PolicyRecord:
        raise UserError("a.policy: no such file")

    store, newest = opened(path, begin, 2, Clock(), None)
    store.close()
    assert newest == FIRST


def test_what_is_wrong_with_the_first_policy_is_the_users_to_mend(tmp_path):
    def begin() -> None:
        raise UserError("a.policy: no policy artefact")

    with pytest.raises(UserError, match=r"a\.policy"):
        opened(tmp_path / "store.sqlite", begin, 1, Clock(), None)
