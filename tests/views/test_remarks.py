"""What a run says at its end beyond its figures; what it says while it goes, once."""

import io
import json

import pytest
from records import S, fill, recorded, report, roof, row, short_run
from rich.console import Console

from tierloop.bench.run_budgets import passed_over
from tierloop.cli.app import main
from tierloop.cli.run import NEVER, _together, headlines
from tierloop.contract.budget import Budget
from tierloop.stack.record.record import Happening
from tierloop.stack.record.sessions import silence
from tierloop.stack.watch import Status
from tierloop.views.finish import join
from tierloop.views.remarks import alone, remarks, verdict
from tierloop.views.terminal import EVENTS_SHOWN, PlainView

NOBODY = "nobody listens at tcp://127.0.0.1:7811"


def silent(times):
    events = [(t, "silence", NOBODY) for t in times]
    gauges = {"session": 0.0}
    return [
        report("arm-0", "device", 1, gauges=gauges),
        report("arm-0", "device", 30, gauges=gauges, events=events),
    ]


@pytest.fixture
def undrawn(monkeypatch):
    """A record is joined without its page: nine tenths of a join are its charts."""
    monkeypatch.setattr("tierloop.views.finish.render", lambda *_: "")


def test_what_processes_said_of_peers_is_told_once_each_with_its_count():
    record = recorded([*silent((3, 11)), *roof(1, 30)])
    assert silence(record, []) == [
        {"process": "arm-0", "said": NOBODY, "at_s": 2.0, "times": 2, "lasting": False}
    ]
    arm, edge = silence(record, ["arm-0", "edge"])
    assert (arm["lasting"], edge["process"], edge["said"], edge["lasting"]) == (
        True, "edge", "", True,
    )  # fmt: skip


def test_the_end_of_a_run_repeats_it(tmp_path):
    fill(tmp_path, [*silent((3, 11)), *roof(1, 30)])
    summary = join(tmp_path)
    assert summary["invariants"]["in_session"] == 1
    assert summary["silence"][0]["said"] == NOBODY
    assert remarks(summary)[0] == f"arm-0 was not connected at the end: {NOBODY}"
    assert NOBODY in (tmp_path / "report.html").read_text()


def test_a_tier_that_was_alone_has_failed():
    assert _together([], False) == 0
    assert _together(["edge"], False) == 1
    assert _together(["edge"], True) == 4


def test_a_record_whose_roof_was_killed_says_so(tmp_path, undrawn):
    fill(tmp_path, short_run())
    summary = join(tmp_path)
    assert (summary["ended"], summary["planned_s"]) == ("killed", 420.0)
    assert "the run was killed after 10 s of 420 s; its last second may be missing" in remarks(
        summary
    )
    told = report("roof", "roof", 110, 100 * S, labels={"ended": "time"})
    assert recorded([*short_run(), told]).label("ended") == "time"


def late_run(received_ms, acted):
    rows = [
        row(i, 50 * i, 0, received_ns=round((50 * i + received_ms) * 1e6)) for i in range(1, 50)
    ]
    rows += [row(50 + i, 5000 + 50 * i, 5) for i in range(acted)]
    device = report("arm-0", "device", 9, rows=rows, counters={"refused.expired": 49.0})
    return [device, *roof(0, 10)]


def test_a_round_trip_beyond_the_validity_is_named(tmp_path, undrawn):
    fill(tmp_path / "late", late_run(600, 3))
    (words,) = [w for w in remarks(join(tmp_path / "late")) if "too late" in w]
    assert words.startswith(
        "49 answers came too late to be used and 3 were used: the median round trip is 599 ms"
    )
    assert "valid only until 400 ms" in words
    fill(tmp_path / "well", late_run(100, 60))
    assert not [w for w in remarks(join(tmp_path / "well")) if "too late" in w]


def test_a_battery_that_cut_out_is_told_by_the_figure_of_its_event(tmp_path):
    gauges = {
        "battery.soc": 0.1, "battery.voltage_v": 20.0, "battery.lowest_v": 18.7,
        "battery.cut_out": 1.0, "battery.cut_out_v": 19.02,
    }  # fmt: skip
    device = report(
        "arm-0",
        "device",
        9,
        gauges=gauges,
        counters={"battery.given_j": 0.0, "battery.unserved_j": 0.0},
    )
    fill(tmp_path, [device, *roof(0, 10)])
    summary = join(tmp_path)
    assert dict(headlines(summary))["battery of arm-0"] == (
        "cut out at 19.02 V; lowest voltage 18.70 V"
    )
    assert any("battery of arm-0 cut out" in words for words in remarks(summary))
    page = (tmp_path / "report.html").read_text()
    assert '<b class="good">all held' not in page
    assert "no data" in page


def test_budgets_of_the_other_clock_are_named():
    def budget(clock):
        return Budget(metric="round_trip", limit=1.0, unit="ms", clock=clock)

    assert passed_over([budget("wall")], "wall") == ""
    words = passed_over([budget("wall"), budget("virtual")], "wall")
    assert words == "1 budget is for the virtual clock and was not judged"
    words = passed_over([budget("wall"), budget("wall")], "virtual")
    assert words == "2 budgets are for the wall clock and were not judged"


@pytest.mark.parametrize("option", [("--for", "0"), ("--for", "nan"), ("--seed", "-1")])
def test_an_option_is_named_as_it_was_typed(tmp_path, monkeypatch, capsys, option):
    file = tmp_path / "x.toml"
    file.write_text('name = "x"\n')
    monkeypatch.setattr("sys.argv", ["tierloop", "run", str(file), *option])
    assert main() == 2
    heard = capsys.readouterr().err
    assert heard.startswith(f"tierloop: {option[0]}: ")
    assert "--set" not in heard


def shown(*rounds):
    console = Console(file=io.StringIO(), width=100)
    view, record = PlainView(console), recorded(())
    for fresh in rounds:
        record.happenings.extend(fresh)
        view.show(Status("cell", "running", 1.0, 60.0, 0, {}, record))
    view.close()
    return console.file.getvalue().splitlines()


def happening(at_s, name, detail="x"):
    return Happening(round(at_s * S), "cloud", "cloud", name, detail)


def test_equal_events_are_told_once_with_a_count():
    lines = shown(*([happening(t, "edge_refused")] for t in range(1, 26)))
    assert [line.split("cloud")[1] for line in lines] == [
        " edge_refused  x", " edge_refused  x  (10 times)", " edge_refused  x  (10 times)",
        " edge_refused  x",
    ]  # fmt: skip
    assert lines[-1].startswith("  and 4 more: ")


def test_a_flood_hides_no_failure():
    flood = [happening(1, "joined", str(n)) for n in range(50)]
    told = ("step_failed", "died", "refused", "hung", "silence", "store_failed", "edge_refused")
    for name in (*told, "record_lacks", "poses_lacks", "engine_fault", "killed"):
        lines = shown([*flood, happening(1, name), *flood])
        assert any(f"cloud {name}  x" in line for line in lines)
        assert f"         … and {50 - EVENTS_SHOWN} more events" in lines
    deaths = [happening(t, "died", "killed by SIGKILL") for t in (1, 2, 3)]
    assert len(shown(deaths)) == 3, "each is told"


def test_a_count_that_has_not_been_told_is_told_before_it_is_forgotten(monkeypatch):
    monkeypatch.setattr("tierloop.views.terminal.REMEMBERED_MAX", 2)
    lines = shown([happening(1, "joined", "a") for _ in range(5)], [
        happening(2, "joined", detail) for detail in "bcd"
    ])  # fmt: skip
    assert [line for line in lines if "more" in line] == ["  and 4 more: cloud joined  a"]


def test_the_summary_is_json_with_all_of_it(tmp_path, undrawn):
    fill(tmp_path, short_run())
    join(tmp_path)
    keys = set(json.loads((tmp_path / "summary.json").read_text()))
    assert {"ended", "planned_s", "silence", "validity_ms"} <= keys


def test_what_became_of_experience_is_told_in_plain_words(tmp_path, undrawn):
    fill(tmp_path, short_run())
    summary = join(tmp_path)
    summary["experience"] |= dict.fromkeys(summary["experience"], 0) | {
        "produced": 570, "acked": 568, "stored": 569, "lost": 1, "checked": True,
    }  # fmt: skip
    assert dict(headlines(summary))["experience segments"] == (
        "570 recorded, 568 acknowledged, 569 stored in the cloud, 0 dropped for lack of space, "
        "1 lost with a crashed process"
    )


def test_what_was_not_judged_has_not_held():
    found = {"stale_action": 0, "in_session": 0}
    assert verdict({"invariants": found}) == "all 2 held"
    assert verdict({"invariants": found, "not_judged": ["x"]}) == "2 held, 1 not judged"
    broken = {"invariants": found | {"in_session": 2}, "not_judged": ["x"]}
    assert verdict(broken) == "in_session 2, 1 not judged"


def test_one_that_never_was_in_session_is_not_said_to_have_left_it():
    said = alone({"process": "edge", "said": NOBODY}, NEVER)
    assert said == f"edge was {NEVER}: {NOBODY}"
