"""Complaints about a deployment file name the file, the line or option, and the key."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierloop.contract.errors import UserError
from tierloop.stack.config.deployment import Deployment, load
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.config.schema import schema

SHIPPED = Path(__file__).parents[2] / "deployments" / "sorting-cell.toml"

TEXT = """\
# a comment with belt = 1
name = "cell"

[scenario]
robots = ["a", "b"]  # belt_mps = 3
scan_hz = 10

[device]
hold_s = 0.5
compute = { idle_w = 1.0, busy_w = 2.0, source = "made up" }
"""


def complaint(tmp_path: Path, text: str, *options: str) -> str:
    path = tmp_path / "cell.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(path, options)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


CASES = [
    (
        TEXT + "hold = 1",
        "cell.toml:11: unknown key 'hold' in [device]; did you mean 'hold_s'?",
    ),
    (
        TEXT.replace("scan_hz", "scan_hs"),
        "cell.toml:6: unknown key 'scan_hs' in [scenario]; did you mean 'scan_hz'?",
    ),
    ("[scenari]\n" + TEXT, "cell.toml:1: unknown key 'scenari'; did you mean 'scenario'?"),
    ("zzz = 1\n" + TEXT, "cell.toml:1: unknown key 'zzz'"),
    (
        TEXT.replace("0.5", '"long"'),
        "cell.toml:9: key 'hold_s' in [device]: expected float, got str",
    ),
    (
        TEXT.replace("scan_hz = 10", "scan_hz = -1"),
        "cell.toml:6: key 'scan_hz' in [scenario]: scan_hz must be positive, not -1.0",
    ),
    (
        TEXT + "[record]\nposes_hz = 500",
        "cell.toml:12: key 'poses_hz' in [record]: poses_hz must lie between 0 and 240",
    ),
    (
        TEXT + "[record]\nposes = 0",
        "cell.toml:12: unknown key 'poses' in [record]; did you mean 'poses_hz'?",
    ),
    (TEXT.replace("0.5", "nan"), "cell.toml:9: key 'hold_s' in [device]: expected a finite number"),
    (
        TEXT.replace("idle_w = 1.0", "idle_w = true"),
        "cell.toml:10: key 'idle_w' in [device.compute]: expected float, got bool",
    ),
    (TEXT.replace('"b"', "3"), "cell.toml:5: key 'robots' in [scenario]: expected str, got int"),
    ("run = 3\n" + TEXT, "cell.toml:1: key 'run': expected table, got int"),
    (TEXT.replace('name = "cell"', ""), "cell.toml: key 'name': missing"),
    (TEXT.replace("name = ", "name "), "cell.toml:2: not TOML: Expected '='"),
    (TEXT + "[edge", "cell.toml:11: not TOML"),
    (
        TEXT.replace('"cell"', '"a/b"'),
        "cell.toml:2: key 'name': 'a/b' is not a valid name",
    ),
    (
        TEXT.replace('"b"', '"edge"'),
        "cell.toml:5: key 'robots' in [scenario]: 'edge' is not a valid name of a robot",
    ),
    (
        TEXT.replace("scan_hz = 10", "control_hz = 100"),
        "cell.toml:6: key 'control_hz' in [scenario]: control_hz 100 does not divide",
    ),
    (
        TEXT + '[links]\ndevice_edge = "tcp://10.0.0.1:7811"',
        "cell.toml:12: key 'device_edge' in [links]: address 'tcp://10.0.0.1:7811': only loopback",
    ),
    (
        TEXT + '[links]\nedge_cloud = "tcp://[::1]:7811"\ndevice_edge = "tcp://[::1]:7811"',
        "cell.toml:12: key 'edge_cloud' in [links]: device_edge and edge_cloud have the same",
    ),
    (
        TEXT + '[policy]\ninitial = "gone.policy"',
        "cell.toml:12: key 'initial' in [policy]: gone.policy: No such file",
    ),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_mistake_in_the_file_is_one_line(tmp_path, text, expected):
    assert complaint(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("scenario.scan_hs=3", "--set scenario.scan_hs: unknown key 'scan_hs' in [scenario]; did"),
        (
            "links.devise.preset=5g",
            "--set links.devise.preset: unknown key 'devise' in [links]; did",
        ),
        (
            "links.device.delay_ms=1e308",
            "--set links.device.delay_ms: key 'delay_ms' in [links.device",
        ),
        ("links.device.bandwidth_mbps=1e-308", "--set links.device.bandwidth_mbps: key 'bandwidth"),
        ("scenario.scan_hz=1e9", "--set scenario.scan_hz: key 'scan_hz' in [scenario]: scan_hz"),
        (
            "reality.drive_lag=5",
            "--set reality.drive_lag: unknown key 'drive_lag' in [reality]; did",
        ),
        (
            "reality.drive_lag_ms=-5",
            "--set reality.drive_lag_ms: key 'drive_lag_ms' in [reality]: dr",
        ),
        (
            "reality.drive_strength=0",
            "--set reality.drive_strength: key 'drive_strength' in [reality",
        ),
        ("learner.hidden=[99999999]", "--set learner.hidden: key 'hidden' in [learner]: widths"),
        ("learner.min_lived=-1", "--set learner.min_lived: key 'min_lived' in [learner]: rounds"),
        ("cloud.ray=nonne", "--set cloud.ray: key 'ray' in [cloud]: unknown ray 'nonne'; choose"),
        ("cloud.busy_w=1e7", "--set cloud.busy_w: key 'busy_w' in [cloud]: busy_w 1e+07 is above"),
        ("device.battery.series=10001", "--set device.battery.series: key 'series' in [device.bat"),
        (
            "device.energy.cell_ocv_v={values=[nan]}",
            "--set device.energy.cell_ocv_v: key 'values' in [device.energy.cell_ocv_v]: expect",
        ),
        (
            'scenario.robots=["device"]',
            "--set scenario.robots: key 'robots' in [scenario]: 'device",
        ),
        ("device.hold_s=0", "--set device.hold_s: key 'hold_s' in [device]: hold_s, segment"),
        ("device.hold_s=soon", "--set device.hold_s: key 'hold_s' in [device]: expected float"),
        ("name.x=1", "--set name.x: 'name' is a value, not a table"),
        ("device.hold_s", "--set device.hold_s: expected KEY=VALUE"),
        ("=1", "--set =1: expected KEY=VALUE"),
        ("device..x=1", "--set device..x=1: expected KEY=VALUE"),
        ("edge=1", "--set edge: key 'edge': expected table, got int"),
    ],
)
def test_a_mistake_in_an_option_names_the_option(tmp_path, option, expected):
    assert complaint(tmp_path, TEXT, option).startswith(expected)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"gone\.toml: No such file"):
        load(tmp_path / "gone.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load(tmp_path / "binary.toml")


def test_options_go_over_the_file_and_may_be_bare_words(tmp_path):
    path = tmp_path / "cell.toml"
    path.write_text(TEXT)
    options = ["scenario.scan_hz=12.5", "cloud.ray=none", 'scenario.robots=["x"]', "seed=7"]
    found = load(path, options)
    assert found.scenario.scan_hz == 12.5
    assert found.scenario.robots == ("x",)
    assert found.cloud.ray == "none"
    assert found.seed == 7
    assert found.device.compute.source == "made up"


KEYS = [
    (table.name, field.name)
    for table in msgspec.structs.fields(DeploymentFile)
    if isinstance(table.type, type) and issubclass(table.type, msgspec.Struct)
    for field in msgspec.structs.fields(table.type)
]


@given(st.sampled_from(KEYS), st.data())
def test_any_slip_in_any_key_is_named_with_its_line(tmp_path_factory, key, data):
    table, name = key
    at = data.draw(st.integers(0, len(name) - 1))
    slip = name[:at] + "q" + name[at + 1 :]
    path = tmp_path_factory.mktemp("slip") / "cell.toml"
    path.write_text(f'name = "cell"\n\n[{table}]\n{slip} = 1\n')
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}:4: unknown key '{slip}' in [{table}]")
    assert str(error.value).endswith("?"), "no nearest key offered"


def test_a_deployment_survives_the_way_to_a_child():
    deployment = load(SHIPPED)
    text = msgspec.json.encode(deployment)
    assert msgspec.json.decode(text, type=Deployment) == deployment


def test_the_published_schema_is_current_and_every_key_is_explained():
    published = SHIPPED.with_name("schema.json").read_bytes()
    assert published == schema(), "run: tierloop schema > deployments/schema.json"
    tables = msgspec.json.decode(published)["$defs"]
    for name, table in tables.items():
        for key, entry in table["properties"].items():
            assert "description" in entry or "$ref" in entry or name.endswith("Power"), (name, key)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("scenario.horizon=2500", "scenario.horizon makes a message of 80000 bytes"),
        ("device.segment_decisions=2000", "device.segment_decisions makes a message of"),
        ("learner.hidden=[4096,488]", "learner.hidden makes a policy of"),
        ("learner.hidden=[4097]", "widths in hidden must lie between 1 and 4096"),
        ("scenario.control_hz=60000", "above 1000"),
        ("links.device_edge=tcp://127.0.0.1:0", "expected tcp://HOST:PORT"),
    ],
)
def test_what_could_never_run_is_refused(option, words):
    options = [option]
    if "control_hz" in option:
        options.append("scenario.physics_hz=60000")
        words = "above"
    with pytest.raises(UserError, match=words):
        load(SHIPPED, options)
