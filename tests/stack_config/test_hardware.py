"""Hardware profiles: what is shipped, what a draw is, and where a deployment's watts come from."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tierloop.cloud.config import CloudConfig
from tierloop.contract.errors import UserError
from tierloop.contract.policy import Work
from tierloop.device.config import ComputePower, DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.policy.work import work
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment, load, resolve
from tierloop.stack.config.deployment_file import DeploymentFile

NAMES = (
    "agx-orin", "cloud-gpu", "edge-server", "orin-nano", "orin-nx", "raspberry-pi-5", "thor",
)  # fmt: skip
JOBS = hardware.Jobs.__struct_fields__


PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"


def draws(profile: hardware.Profile, job: str, rows: int, n: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.array([profile.duration_ns(job, rows, rng) for _ in range(n)])


def test_the_shipped_profiles_say_where_every_figure_comes_from():
    assert hardware.shipped() == NAMES
    for name in NAMES:
        profile = hardware.load(name)
        figures = [profile.idle_w, profile.busy_w, *(getattr(profile.jobs, j) for j in JOBS)]
        assert all(len(figure.source) > 10 for figure in figures), name
        assert profile.idle_w.high <= profile.busy_w.high
        assert profile.idle_w.value < profile.busy_w.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("job", JOBS)
def test_draws_centre_on_the_curve_with_its_spread(name, job):
    profile = hardware.load(name)
    curve = getattr(profile.jobs, job)
    for rows in (1, 64, 300):
        found = draws(profile, job, rows)
        median_ns = curve.median_us(rows) * 1000
        assert np.median(found) == pytest.approx(median_ns, rel=0.1 * curve.jitter + 0.01)
        assert np.std(np.log(found)) == pytest.approx(curve.jitter, rel=0.1)


def test_a_draw_repeats_by_its_seed_and_takes_one_number():
    profile = hardware.load("orin-nx")
    assert (draws(profile, "infer", 8, 50) == draws(profile, "infer", 8, 50)).all()
    one, two = np.random.default_rng(1), np.random.default_rng(1)
    profile.duration_ns("infer", 3, one)
    two.standard_normal()
    assert one.random() == two.random()


def test_a_curve_is_straight_between_its_points_and_beyond_the_last():
    about = {"jitter": 0.0, "factor": 1.0, "kind": "measured", "source": "here"}
    curve = hardware.DurationCurve(rows=(2, 4, 8), us=(10.0, 20.0, 60.0), **about)
    assert [curve.median_us(n) for n in (1, 2, 3, 4, 6, 8, 16)] == [10, 10, 15, 20, 40, 60, 140]
    single = hardware.DurationCurve(rows=(256,), us=(512.0,), **about)
    assert [single.median_us(n) for n in (1, 256, 1000)] == [2, 512, 2000]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": (1,)}, "rows has 1 entries and us has 2"),
        ({"rows": (2, 1)}, "and increase"),
        ({"rows": (0, 1)}, "start at 1 or more"),
        ({"us": (2.0, 1.0)}, "must not decrease"),
        ({"us": (0.0, 1.0)}, "must be positive"),
        ({"jitter": -0.1}, "jitter must be at least 0"),
        ({"factor": 0.5}, "factor at least 1"),
    ],
)
def test_a_curve_that_cannot_be_says_so(change, words):
    given = {
        "rows": (1, 2), "us": (1.0, 2.0), "jitter": 0.0, "factor": 1.0,
        "kind": "measured", "source": "here",
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        hardware.DurationCurve(**given | change)


def asks(*hidden: int) -> Work:
    return work(policy_spec(Scenario()), hidden)


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_network_takes_longer_and_the_curves_own_what_the_curve_says(name):
    infer = hardware.load(name).jobs.infer
    for rows in (1, 8, 64, 100):
        assert infer.us_of(asks(256, 256), rows) == infer.median_us(rows)
        small, own, large, largest = (
            infer.us_of(asks(width, width), rows) for width in (64, 256, 900, 1000)
        )
        assert small < own
        assert large > 2.5 * own, "ten times the operations"
        assert largest > large


def test_a_roofline_is_the_longer_of_computing_and_reading():
    line = msgspec.structs.replace(
        hardware.load("orin-nx").jobs.infer.roofline,
        ops=1000, weight_bytes=2000, call_us=5.0, row_us=0.5, gops_s=10.0, gb_s=1.0,
    )  # fmt: skip
    assert line.us(Work(100_000, 200_000), 1) == pytest.approx(5.0 + 0.5 + 200.0), "reads 200 kB"
    assert line.us(Work(100_000, 200_000), 40) == pytest.approx(5.0 + 20.0 + 400.0), "computes"
    own_us = 5.0 + 0.5 + 2.0
    assert line.ratio(Work(100_000, 200_000), 1) == pytest.approx(205.5 / own_us)
    assert line.ratio(Work(1000, 2000), 17) == 1.0


def test_what_was_not_fitted_on_is_said():
    infer = hardware.load("orin-nx").jobs.infer
    line = infer.roofline
    assert infer.outside(asks(256, 256), 64) == ""
    assert infer.outside(asks(256, 256), 65) == "batches of more than 64 observations"
    least, most = line.ops_range
    for ops in (least, most):
        assert infer.outside(Work(ops, 1), 1) == ""
    for ops in (least - 1, most + 1):
        said = infer.outside(Work(ops, 1), 1)
        assert said == f"a network of {ops:,} operations, fitted on {least:,} to {most:,}"


def test_a_profile_without_a_roofline_is_read_as_fitted_on_one_network_only(tmp_path):
    text = (hardware.SHIPPED / "thor.toml").read_text()
    head, _, rest = text.partition("[jobs.infer.roofline]")
    own = tmp_path / "old.toml"
    own.write_text(head + rest[rest.index("[jobs.install]") :])
    infer = hardware.load(str(own)).jobs.infer
    assert infer.roofline is None
    assert infer.us_of(asks(1024, 1024), 8) == infer.us_of(asks(8), 8) == infer.median_us(8)
    assert infer.outside(asks(256, 256), 1) == "one network only, whichever it was"


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("call_us", "call_us = -1.0", "call_us and row_us must not be negative"),
        ("gops_s", "gops_s = 0.0", "gops_s and gb_s must be positive"),
        ("gb_s", "gb = 3.0", "unknown key 'gb' in [jobs.infer.roofline]"),
        ("held_out", "", "key 'held_out' in [jobs.infer.roofline]: missing"),
        ("ops_range", "ops_range = [9, 3]", "ops_range must be two numbers"),
        ("rows_range", "rows_range = [0, 3]", "rows_range must be two numbers"),
        ("networks", "networks = []", "networks must name at least one"),
        ("ops =", "ops = 0", "ops and weight_bytes must be at least 1"),
        ("error_worst", "error_worst = -0.1", "errors must not be negative"),
        ("engine", "engine = 3", "key 'engine' in [jobs.infer.roofline]: expected str"),
    ],
)
def test_a_roofline_with_a_mistake_is_one_line(tmp_path, line, instead, words):
    text = (hardware.SHIPPED / "thor.toml").read_text()
    head, mark, rest = text.partition("[jobs.infer.roofline]")
    (found,) = [one for one in rest.splitlines() if one.startswith(line)]
    (tmp_path / "mine.toml").write_text(head + mark + rest.replace(found, instead, 1))
    with pytest.raises(UserError) as error:
        hardware.load(str(tmp_path / "mine.toml"))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cell.toml"
    path.write_text('name = "cell"\n' + text)
    return path


def test_a_tier_draws_the_watts_of_its_hardware(tmp_path):
    named = write(tmp_path, '[edge]\nhardware = "thor"\n[device]\nhardware = "orin-nano"\n')
    deployment = load(named)
    thor, nano = hardware.load("thor"), hardware.load("orin-nano")
    assert (deployment.edge.idle_w, deployment.edge.busy_w) == (
        thor.idle_w.value, thor.busy_w.value,
    )  # fmt: skip
    assert deployment.device.compute.busy_w == nano.busy_w.value
    default = resolve(DeploymentFile(name="cell"))
    assert (default.device.compute.idle_w, default.device.compute.busy_w) == (3.0, 9.0)
    assert (default.edge.idle_w, default.edge.busy_w) == (4.6, 16.9)
    assert (default.cloud.idle_w, default.cloud.busy_w) == (60.0, 150.0)


@pytest.mark.parametrize(
    ("tier", "lacking"),
    [
        ("device", DeviceConfig(compute=ComputePower(busy_w=9.0))),
        ("edge", EdgeConfig(idle_w=4.6)),
        ("cloud", CloudConfig()),
    ],
)
def test_no_deployment_is_made_without_the_watts_of_a_tier(tier, lacking):
    whole = resolve(DeploymentFile(name="cell"))
    with pytest.raises(ValueError, match=f"^{tier}.* does not say its watts: resolve the file"):
        msgspec.structs.replace(whole, **{tier: lacking})


def test_what_the_file_says_of_watts_goes_before_the_profile(tmp_path):
    text = "[edge]\nbusy_w = 20.0\n[device.compute]\nidle_w = 1.0\n"
    deployment = load(write(tmp_path, text))
    assert (deployment.edge.idle_w, deployment.edge.busy_w) == (4.6, 20.0)
    assert (deployment.device.compute.idle_w, deployment.device.compute.busy_w) == (1.0, 9.0)


def test_a_file_of_ones_own_is_found_beside_the_deployment_and_needed_only_once(tmp_path):
    own = tmp_path / "mine.toml"
    text = (hardware.SHIPPED / "thor.toml").read_text()
    own.write_text(text.replace("value = 130.0", "value = 99.0"))
    deployment = load(write(tmp_path, '[cloud]\nhardware = "mine.toml"\n'))
    assert deployment.cloud.hardware == str(own)
    assert deployment.cloud.busy_w == 99.0
    assert hardware.load(deployment.cloud.hardware).busy_w.value == 99.0
    packed = msgspec.json.encode(deployment)
    own.unlink()
    hardware.load.cache_clear()
    assert msgspec.json.decode(packed, type=Deployment) == deployment


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_the_watts_and_times_that_are_shipped(name):
    profile = hardware.load(name)
    idle, busy = (
        f"{watts.value:g} ({watts.low:g} to {watts.high:g})"
        for watts in (profile.idle_w, profile.busy_w)
    )
    infer = profile.jobs.infer
    times = f"{infer.median_us(1):g} / {infer.median_us(64):g}"
    assert f"\n| `{name}` | {idle} | {busy} | {times} |" in PAGE.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[edge]\nhardware = "orin"\n', "cell.toml:3: key 'hardware' in [edge]: unknown hardware"),
        ('[cloud]\nhardware = "no.toml"\n', "cell.toml:3: key 'hardware' in [cloud]: "),
        (
            '[cloud]\nhardware = "no.toml"\n',
            "no.toml: No such file or directory; give a .toml file",
        ),
        ("[edge]\nidle_w = 30.0\n", "cell.toml:3: key 'idle_w' in [edge]: idle_w 30 must lie"),
        ("[edge]\nidle_w = -1.0\n", "cell.toml:3: key 'idle_w' in [edge]: idle_w -1 must lie"),
        ("[device]\nhardware = 3\n", "cell.toml:3: key 'hardware' in [device]: expected str"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, text, words):
    with pytest.raises(UserError) as error:
        load(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_profile_with_a_mistake_names_its_own_line(tmp_path):
    (tmp_path / "mine.toml").write_text('about = "x"\nidle_w = 3\n')
    with pytest.raises(UserError, match=r"mine.toml:2: key 'idle_w'.*expected table, got int"):
        load(write(tmp_path, '[edge]\nhardware = "mine.toml"\n'))
