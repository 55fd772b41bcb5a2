"""Constants as data: each with its source, as shipped; a deployment's own need the same."""

from pathlib import Path

import numpy as np
import pytest

from tierloop.contract.constants import Constant, Curve, constants
from tierloop.contract.errors import SpecError, UserError
from tierloop.device.energy import Energy
from tierloop.sim.scenario import Scenario, body_spec
from tierloop.stack.config.deployment import load

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deployments" / "sorting-cell.toml"
FILES = ("device/energy.toml", "sim/bodies/panda.toml")


@pytest.mark.parametrize("name", FILES)
def test_every_constant_shipped_says_where_it_comes_from(name):
    found = constants((ROOT / name).read_text(), name)
    assert len(found) >= 8
    for constant in found.values():
        assert len(constant.source) > 8
        assert constant.unit
        sure = constant.uncertainty == 0
        assert not (sure and constant.kind in ("measured", "derived")), "no figure is exact"


def test_every_constant_of_the_device_is_in_use_and_none_is_typed_in_twice():
    in_file = set(constants((ROOT / FILES[0]).read_text(), FILES[0]))
    assert in_file == set(Energy.__struct_fields__)
    meter = (ROOT / "device/meter.py").read_text() + (ROOT / "device/battery.py").read_text()
    assert all(f".{name}.v" in meter for name in in_file)


def test_copper_loss_is_resistance_over_torque_constant_squared():
    body = body_spec(Scenario())
    large, small = body.copper_w_per_nm2[0], body.copper_w_per_nm2[6]
    assert large * 87.0**2 == pytest.approx(60.0)
    assert small * 12.0**2 == pytest.approx(25.0)
    assert body.power_uncertainty.copper == pytest.approx(np.hypot(0.5, 2 * 0.25))


METER = 'unit="W", kind="measured", source="a power meter", uncertainty=0.02'


def test_a_deployment_may_say_better_and_the_rest_stays_as_shipped():
    energy = load(SHIPPED, [f"device.energy.base_w={{value=3.5, {METER}}}"]).device.energy
    assert energy.base_w.value == 3.5
    assert energy.base_w.source == "a power meter"
    assert energy.radio_idle_w == Energy().radio_idle_w


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("energy.base_w.value=3.5", "'unit' in [device.energy.base_w]: missing"),
        (f"energy.base_w={{value=-1.0, {METER}}}", "base_w must not be negative"),
        (f"energy.radio_tail_s={{value=1.0, {METER}}}", "radio_tail_s is in 's', not in 'W'"),
        (f"energy.base={{value=1.0, {METER}}}", "did you mean 'base_w'?"),
        ("battery.soc=0", "soc must lie above 0"),
        ("battery.series=0", "between 1 and"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(option, words):
    with pytest.raises(UserError) as error:
        load(SHIPPED, [f"device.{option}"])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_file_names_the_table():
    text = '[x]\nvalue = 1.0\nunit = "W"\nkind = "assumed"\nsource = "s"\nuncertainty = 2.0\n'
    with pytest.raises(SpecError, match=r"mine\.toml: \[x\]: uncertainty is relative"):
        constants(text, "mine.toml")
    with pytest.raises(SpecError, match="kind"):
        constants(text.replace("assumed", "guess"), "mine.toml")
    assert isinstance(constants(text.replace("2.0", "0.2"), "")["x"], Constant)
    curve = text.replace("value = 1.0", "values = [1.0, 2.0]").replace("2.0\n", "0.5\n")
    assert isinstance(constants(curve, "")["x"], Curve)
