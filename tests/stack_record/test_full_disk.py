"""A disk that takes no more costs the record, from when and why it says, and never the run."""

import json
import resource
import signal
import sqlite3
from contextlib import contextmanager

import pytest
from records import S, deployment, fill, recorded, report, short_run

from tierloop.cli.run import print_summary, run_code, warnings
from tierloop.cloud.store import Store
from tierloop.exit_codes import ExitCode
from tierloop.stack.record import disks, reports
from tierloop.stack.record.audit import audit
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.disks import CLOUD_STORE
from tierloop.stack.record.folder import load
from tierloop.stack.record.reports import LACKS, PartFiles
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.wall.run import Run
from tierloop.views.finish import conclude, join


@contextmanager
def room(size_bytes: int):
    """No file of this process grows beyond that size meanwhile: as on a full disk, to the byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("more", [0, 1, 5, 50])
def test_a_torn_append_is_cut_back_and_the_record_goes_on_behind_the_last_whole_one(tmp_path, more):
    written, path = PartFiles(tmp_path), tmp_path / "arm-0.reports"
    written.append(report("arm-0", "device", 1))
    whole = path.read_bytes()
    with room(len(whole) + more):
        for at_s in (2, 3):
            written.append(report("arm-0", "device", at_s))
    assert path.read_bytes() == whole
    assert "File too large" in written.full
    written.append(report("arm-0", "device", 4))
    assert not written.full
    assert [one.at_ns // S for one in reports.scan(tmp_path)] == [1, 4]
    (lack,) = written.lacks
    assert (lack.since_ns, lack.until_ns, lack.reports) == (2 * S, 3 * S, 2)


def test_what_could_not_be_cut_back_at_once_is_before_the_next_append(tmp_path, monkeypatch):
    written, path = PartFiles(tmp_path), tmp_path / "arm-0.reports"
    written.append(report("arm-0", "device", 1))
    whole = path.read_bytes()
    written._torn[path] = len(whole)
    path.write_bytes(whole + b"half a report")
    written.append(report("arm-0", "device", 2))
    assert [one.at_ns // S for one in reports.scan(tmp_path)] == [1, 2]


class Unseen:
    def show(self, status) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_run_on_a_full_disk_goes_on_and_says_since_when(tmp_path):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    run = Run(deployment(), ("device",), tmp_path / "run", Unseen())
    try:
        (tmp_path / "run" / "parts" / "arm-0.reports").mkdir()
        run._hear(report("arm-0", "device", 1))
        run._report()
        assert not run._ended()
        assert run.lacks
        assert len(run.record.of("device")) == 1, "it is in memory"
        (told,) = (h for h in run.record.happenings if h.name == "record_lacks")
        assert told.detail == "Is a directory; the run continues, its reports are not kept"
        (tmp_path / "run" / "parts" / "arm-0.reports").rmdir()
        run._hear(report("arm-0", "device", 2))
        run._report()
        assert [h.name for h in run.record.happenings][-1] == "record_resumed"
        (lack,) = reports.lacks_of(run.record.label(LACKS))
        assert (lack.reports, lack.why) == (1, "Is a directory")
    finally:
        run._ends.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_summary_of_a_run_whose_parts_lack_is_made_of_memory_and_a_later_one_says_so(tmp_path):
    reports = short_run()
    label = {LACKS: json.dumps([[106 * S, 109 * S, 2, "No space left on device"]])}
    end = report("roof", "roof", 110, 100 * S, labels=label)
    fill(tmp_path, [*(one for one in reports if one.process != "arm-1"), end])
    summary = conclude(tmp_path, deployment(), recorded([*reports, end]), tmp_path)
    assert (summary["ticks"]["n"], summary["damaged"], summary["not_judged"]) == (4800, [], ())
    assert summary["lacks"] == [
        {
            "what": "reports", "from_s": 6.0, "to_s": 9.0, "reports": 2,
            "why": "No space left on device",
        }
    ]  # fmt: skip
    assert run_code(summary, interrupted=False) == 0
    again = join(tmp_path)
    assert again["ticks"]["n"] == 2400
    assert [damage["file"] for damage in again["damaged"]] == ["parts"]
    assert "conservation" in again["not_judged"]
    assert run_code(again, interrupted=False) == ExitCode.INCONCLUSIVE
    said = "2 reports from 6.0 s to 9.0 s are missing from the record: No space left on device"
    assert warnings(summary) == warnings(again) == [said]


def test_a_summary_that_cannot_be_kept_is_printed_and_the_rest_is_kept(tmp_path, capsys):
    fill(tmp_path, short_run())
    (tmp_path / "summary.json").mkdir()
    made = join(tmp_path)
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "ledger.parquet").is_file()
    assert run_code(made, interrupted=False) == ExitCode.INCONCLUSIVE
    print_summary(made, tmp_path)
    said = capsys.readouterr()
    assert said.err == "tierloop: not written: summary.json: Is a directory\n"
    assert json.loads(said.out.splitlines()[0])["ticks"]["n"] == 4800


def test_what_is_not_kept_leaves_no_draft_and_is_in_the_summary(tmp_path):
    fill(tmp_path, short_run())
    with room(8000):
        made = join(tmp_path)
    assert [words.partition(":")[0] for words in made["unkept"]] == [
        "ledger.parquet", "report.html",
    ]  # fmt: skip
    assert json.loads((tmp_path / "summary.json").read_text())["unkept"] == made["unkept"]
    assert run_code(made, interrupted=False) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"deployment.json", "parts", "summary.json"}


def test_the_reserve_is_room_for_the_end_and_where_there_is_none_nothing_happens(tmp_path):
    reserve = Reserve(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1_000_000
    reserve.free()
    assert list(tmp_path.iterdir()) == []
    with room(1000):
        Reserve(tmp_path).free()
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_read_from_a_copy_where_its_log_cannot_be_read_in_place(tmp_path, monkeypatch):
    """As on a full or read-only disk after a kill: SQLite may not make its index of the log."""
    from test_audit import datum

    store = Store(tmp_path / CLOUD_STORE)
    store.commit([datum(n) for n in range(3)])  # it is not closed: all lies in the log
    (tmp_path / "killed").mkdir()
    killed = tmp_path / "killed" / CLOUD_STORE
    killed.parent.mkdir(parents=True)
    for suffix in ("", "-wal"):
        source = tmp_path / f"{CLOUD_STORE}{suffix}"
        killed.with_name(killed.name + suffix).write_bytes(source.read_bytes())
    before = {path.name: path.read_bytes() for path in killed.parent.iterdir()}

    def refused(path, more=""):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr(disks, "_connect", refused)
    assert audit(tmp_path / "killed", {}, 0).stored == 3
    assert {path.name: path.read_bytes() for path in killed.parent.iterdir()} == before
    store.close()


def test_the_record_of_a_run_on_a_full_disk_can_be_read_again(tmp_path):
    label = {LACKS: json.dumps([[106 * S, 109 * S, 2, "No space left on device"]])}
    fill(tmp_path, [*short_run(), report("roof", "roof", 110, 100 * S, labels=label)])
    _, record = load(tmp_path)
    assert record.damaged == [
        Damage("parts", "not written: No space left on device", -1, -1, 106 * S, 109 * S)
    ]
