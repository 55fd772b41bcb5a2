"""What is out of all measure: refused in one line, counted, or shown without harm."""

import msgspec
import numpy as np
import pytest
from records import MS, S, report, row

from tierloop.cli.app import main
from tierloop.cloud.ingest import Misfitting, check
from tierloop.contract.errors import SpecError, UserError
from tierloop.contract.ledger import coded
from tierloop.contract.messages import Hello, Segment
from tierloop.link.address import check_address
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.record import reports
from tierloop.stack.record.record import Happening
from tierloop.views.terminal import event_line


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_report_with_a_number_that_is_none_is_no_message(number):
    with pytest.raises(SpecError, match="no number"):
        report("arm-0", "device", 1, counters={"ticks": number})
    with pytest.raises(SpecError, match="63 bits"):
        report("arm-0", "device", 1, boot=2**64 - 1)


def test_a_ledger_with_words_that_mean_nothing_is_seen():
    assert coded(np.array([row(0, 1.0)]))
    assert not coded(np.array([row(0, 1.0, rung=2**62)]))


@pytest.mark.parametrize("name", ["", "\x1b[2J", "a\nb", "\u202ea"])
def test_a_name_that_cannot_be_printed_opens_no_session(name):
    with pytest.raises(SpecError):
        Hello(node=name, role="device", boot=1, software="x", spec="s")


def test_what_cannot_be_printed_is_not():
    line = event_line(Happening(S, "edge", "edge", "joined", "\x1b[2J\x07evil"), 0)
    assert line.isprintable()
    assert line.endswith("evil")


@pytest.mark.parametrize("far", [3.4e38, -1e6])
def test_data_far_beyond_their_limits_are_refused(far):
    spec, n = policy_spec(Scenario()), 3
    features = np.full((n, spec.observation.size), far, np.float32)
    stamps = np.arange(n, dtype=np.int64) * MS
    segment = Segment(
        device="arm-0", boot=1, seq=0, body="panda", software="x", spec=spec.digest,
        captured_ns=stamps, features=features, age_ns=stamps, versions=np.zeros(n, np.int64),
        applied=np.tile(np.array(spec.action.low, np.float32), (n, 1)), seam_rad=0.0,
        refused={}, outcomes=(),
    )  # fmt: skip
    with pytest.raises(Misfitting) as caught:
        check(segment, spec, spec.digest)
    assert caught.value.reason == "absurd"
    near = np.tile(np.array(spec.observation.low, np.float32), (n, 1))
    check(msgspec.structs.replace(segment, features=near), spec, spec.digest)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:7811/x", "tcp://a@127.0.0.1:7811"])
def test_an_address_is_no_more_than_host_and_port(address):
    with pytest.raises(UserError, match="expected tcp"):
        check_address(address)


def test_a_record_that_can_take_no_more_says_so_and_goes_on_when_it_can(tmp_path):
    written = reports.PartFiles(tmp_path / "parts")
    written.append(report("arm-0", "device", 1))
    (tmp_path / "parts" / f"edge{reports.SUFFIX}").mkdir()
    written.append(report("edge", "edge", 2))
    assert "parts" in written.full
    assert [name for name, _ in written.news()] == ["record_lacks"]
    written.append(report("arm-0", "device", 3))
    written.append(report("edge", "edge", 3))
    assert written.full
    assert written.news() == []
    (tmp_path / "parts" / f"edge{reports.SUFFIX}").rmdir()
    written.append(report("edge", "edge", 4))
    assert not written.full
    assert written.news() == [("record_resumed", "2 reports are missing")]
    assert [r.at_ns for r in reports.read(tmp_path / "parts")] == [1 * S, 3 * S, 4 * S]
    (lack,) = written.lacks
    assert (lack.since_ns, lack.until_ns, lack.reports) == (2 * S, 3 * S, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[policy]\ninitial = "a\\u0000b"\n', "null"),
        ('[policy]\ninitial = "/dev/zero"\n', "not a file"),
        ("[edge]\nbatch_max = 1000000000000\n", "batch_max"),
        ("[cloud]\nworkers = 1000000\n", "workers"),
        ("[learner]\ngate_episodes = 1000000000000\n", "gate_episodes"),
        (f"[scenario]\nrobots = {[f'r-{i}' for i in range(5000)]}\n", "robots"),
    ],
    ids=["nul", "device", "batch", "workers", "episodes", "robots"],
)
def test_a_deployment_out_of_all_measure_is_one_line(tmp_path, monkeypatch, capsys, text, said):
    file = tmp_path / "x.toml"
    file.write_text(f'name = "x"\n{text}')
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["tierloop", "run", str(file), "--out", str(out)])
    assert main() == 2
    heard = capsys.readouterr().err
    assert said in heard
    assert heard.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("out", ["/dev/null/x", "/proc/x"])
def test_a_place_that_cannot_be_written_is_one_line_on_the_virtual_clock_too(
    tmp_path, monkeypatch, capsys, out
):
    file = tmp_path / "x.toml"
    file.write_text('name = "x"\n[scenario]\ntask = "reach"\nbody = "plant"\n')
    arguments = ["tierloop", "run", str(file), "--clock", "virtual", "--for", "1", "--out", out]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 2
    heard = capsys.readouterr().err
    assert out in heard
    assert heard.count("\n") == 1
