"""The format of faults: what is understood, what is refused, and in which words."""

import re
from pathlib import Path

import msgspec
import pytest

from tierloop.contract.errors import UserError
from tierloop.link.model import Conditions
from tierloop.stack.config import fault_tables
from tierloop.stack.config.deployment import Deployment, load, resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.faults import timeline
from tierloop.stack.faults.kinds import KINDS, ClockStep, Crash, Delay, Hang, Loss, Partition

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deployments" / "faults" / "bad-day.toml"
ROBOTS = ("arm-0", "arm-1")
GOOD = '[[fault]]\nkind = "crash"\nat_s = 1\nfor_s = 2\ntarget = "edge"\n'


def write(tmp_path, text):
    path = tmp_path / "faults.toml"
    path.write_text(text)
    return path


def test_the_example_is_read_and_shows_every_kind():
    found = fault_tables.load(EXAMPLE, ROBOTS)
    assert {fault.kind for fault in found} == set(KINDS)


def test_every_kind_and_key_is_documented():
    text = (ROOT / "docs" / "faults.md").read_text()
    for kind, struct in KINDS.items():
        assert f"| `{kind}` |" in text, kind
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}` |"))
        own = {f.name for f in msgspec.structs.fields(struct)} - {
            "at_s",
            "for_s",
            "target",
            "direction",
        }
        assert all(f"`{name}`" in row for name in own), (kind, own)


def test_faults_stand_in_a_deployment_and_in_a_file_of_their_own(tmp_path):
    deployment = tmp_path / "d.toml"
    deployment.write_text('name = "x"\n' + GOOD.replace("crash", "hang"))
    more = write(tmp_path, GOOD)
    found = load(deployment, (), more).fault
    assert found == (
        Hang(at_s=1, for_s=2, target="edge"),
        Crash(at_s=1, for_s=2, target="edge"),
    )


def test_a_record_gives_the_faults_back(tmp_path):
    deployment = tmp_path / "d.toml"
    deployment.write_text('name = "x"\n')
    before = load(deployment, (), EXAMPLE)
    after = msgspec.json.decode(msgspec.json.encode(before), type=Deployment)
    assert after == before
    assert len(after.fault) == 15


@pytest.mark.parametrize(
    ("wrong", "line", "words"),
    [
        (
            GOOD.replace("crash", "crush"),
            1,
            "fault 1 (crush): unknown kind 'crush'; choose one of: ",
        ),
        (GOOD.replace('kind = "crash"\n', ""), 1, "fault 1: key 'kind': missing"),
        (GOOD.replace("for_s = 2\n", ""), 1, "fault 1 (crash): key 'for_s': missing"),
        (GOOD + "loss = 1\n", 1, "fault 1 (crash): unknown key 'loss'"),
        (GOOD.replace("for_s", "fors"), 1, "fault 1 (crash): unknown key 'fors'; did you mean"),
        (GOOD.replace("= 2", '= "2"'), 1, "fault 1 (crash): key 'for_s': expected float, got str"),
        (GOOD.replace("at_s = 1", "at_s = -1"), 1, "fault 1 (crash): at_s must lie between 0 and"),
        (GOOD.replace("at_s = 1", "at_s = nan"), 1, "fault 1 (crash): at_s must lie between"),
        (GOOD.replace("for_s = 2", "for_s = 0"), 1, "fault 1 (crash): for_s must lie between"),
        (
            GOOD + "\n" + GOOD.replace("edge", "egde"),
            7,
            "fault 2 (crash): unknown target 'egde'; choose",
        ),
        (
            GOOD.replace("crash", "hang").replace("edge", "arm-0"),
            1,
            "unknown target 'arm-0'; choose one of: edge, cloud",
        ),
        (
            GOOD.replace("crash", "partition"),
            1,
            "unknown target 'edge'; choose one of: cloud, arm-0, arm",
        ),
        (GOOD.replace("crash", "loss") + "loss = 2\n", 1, "loss must lie between"),
        (
            GOOD.replace("crash", "partition").replace("edge", "cloud")
            + 'direction = "sideways"\n',
            1,
            "fault 1 (partition): key 'direction': unknown direction 'sideways'; choose one of:"
            " both, up, down",
        ),
        ("fault = 3\n", 1, "expected [[fault]] tables"),
        ("faults = 3\n", 1, "unknown key 'faults'"),
        ("[[fault]\n", 1, "not TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_entry(tmp_path, wrong, line, words):
    path = write(tmp_path, wrong)
    with pytest.raises(UserError, match=re.escape(words)) as raised:
        fault_tables.load(path, ROBOTS)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{path}:{line}: ")


def test_a_fault_past_the_end_of_the_run_is_refused(tmp_path):
    deployment = tmp_path / "d.toml"
    deployment.write_text('name = "x"\n')
    path = write(tmp_path, GOOD.replace("at_s = 1", "at_s = 30"))
    assert load(deployment, ["run.duration_s=31"], path).fault[0].at_s == 30
    with pytest.raises(
        UserError, match=r"faults.toml:1: fault 1 \(crash\): at_s 30 is after the end"
    ):
        load(deployment, ["run.duration_s=30"], path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone.toml: No such file or directory; give a file of"):
        fault_tables.load(tmp_path / "gone.toml", ROBOTS)


def test_an_unknown_preset_is_answered_with_the_known(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text('name = "x"\n')
    words = (
        "unknown preset 'wify'; choose one of: none, ethernet, wifi, 5g, lte, satellite; did you"
    )
    with pytest.raises(UserError, match=re.escape(words)):
        load(path, ["links.device.preset=wify"])


def test_lines_below_an_entry_are_not_taken_for_the_table_above(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text('name = "x"\n[run]\n' + GOOD + '[links]\ndevice_edg = "a"\n')
    with pytest.raises(UserError, match=r"d.toml:9: unknown key 'device_edg' in \[links\]"):
        load(path)


def test_a_deployment_made_otherwise_is_checked_too():
    with pytest.raises(ValueError, match=r"fault 1 \(crash\): unknown target 'arm-7'; choose"):
        resolve(DeploymentFile(name="x", fault=(Crash(at_s=1, for_s=1, target="arm-7"),)))


def test_conditions_of_a_link_add_up_and_end():
    entries = (
        Partition(at_s=1, for_s=1, target="arm-0"),
        Delay(at_s=1.5, for_s=2, target="device", delay_ms=10, direction="up"),
        Delay(at_s=2, for_s=1, target="arm-0", delay_ms=5),
        Loss(at_s=2, for_s=1, target="arm-0", loss=0.5),
        Loss(at_s=2, for_s=1, target="arm-0", loss=0.5),
        Loss(at_s=2, for_s=1, target="arm-1", loss=0.9),
    )
    up = dict(timeline.changes(entries, "arm-0", ROBOTS, "up"))
    assert up == {
        1_000_000_000: Conditions(cut=True),
        1_500_000_000: Conditions(cut=True, extra_delay_ns=10_000_000),
        2_000_000_000: Conditions(loss=0.75, extra_delay_ns=15_000_000),
        3_000_000_000: Conditions(extra_delay_ns=10_000_000),
        3_500_000_000: Conditions(),
    }
    down = dict(timeline.changes(entries, "arm-0", ROBOTS, "down"))
    assert down[1_500_000_000 + 500_000_000] == Conditions(loss=0.75, extra_delay_ns=5_000_000)
    assert down[3_000_000_000] == Conditions()


def test_the_edges_own_link_is_called_cloud():
    entries = (Partition(at_s=1, for_s=1, target="cloud"),)
    assert timeline.changes(entries, "edge", ROBOTS, "up")
    assert not timeline.changes(entries, "arm-0", ROBOTS, "up")
    assert not timeline.own(entries, "cloud", ROBOTS)


def test_a_timeline_is_told_in_order():
    entries = (
        Hang(at_s=3, for_s=2, target="edge"),
        Loss(at_s=1, for_s=3, target="device", loss=0.5),
        ClockStep(at_s=2, target="cloud", step_ms=50),
    )
    assert list(timeline.told(entries)) == [
        (1_000_000_000, "device", "fault.loss", "direction both, loss 0.5, until 4 s"),
        (2_000_000_000, "cloud", "fault.clock_step", "step_ms 50"),
        (3_000_000_000, "edge", "fault.hang", "until 5 s"),
        (4_000_000_000, "device", "fault.over", "loss"),
        (5_000_000_000, "edge", "fault.over", "hang"),
    ]


@pytest.mark.parametrize("kind", ["[]", "{ a = 1 }", "3"])
def test_a_kind_that_is_no_word_is_one_line(tmp_path, kind):
    path = write(tmp_path, GOOD.replace('"crash"', kind))
    with pytest.raises(UserError, match=r"faults.toml:1: fault 1.*: unknown kind"):
        fault_tables.load(path, ROBOTS)
