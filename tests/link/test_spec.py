"""A link as a deployment declares it: presets, both directions, single values."""

import msgspec
import pytest

from tierloop.link.direction import DirectionSpec
from tierloop.link.presets import PRESETS
from tierloop.link.spec import LinkSpec


def test_every_preset_is_complete_and_names_its_source():
    for name, preset in PRESETS.items():
        for direction in (preset.up, preset.down):
            assert None not in msgspec.structs.asdict(direction).values(), name
            assert direction.ideal == (name == "none")
        assert len(preset.source) > 10
        assert LinkSpec(preset=name).directions() == (preset.up, preset.down)
        assert LinkSpec(preset=name).ideal == (name == "none")


def test_single_values_override_a_preset_both_ways():
    up, down = LinkSpec(preset="lte", delay_ms=50, loss=0).directions()
    for direction in (up, down):
        assert (direction.delay_ms, direction.loss) == (50, 0)
    assert (up.bandwidth_mbps, down.bandwidth_mbps) == (6, 13)


def test_a_value_of_one_direction_counts_before_one_of_both():
    own = DirectionSpec(delay_ms=5, bandwidth_mbps=0)
    up, down = LinkSpec(preset="lte", delay_ms=50, down=own).directions()
    assert (up.delay_ms, down.delay_ms) == (50, 5)
    assert (up.bandwidth_mbps, down.bandwidth_mbps) == (6, 0)
    up, down = LinkSpec(preset="lte", delay_ms=50, up=own).directions()
    assert (up.delay_ms, down.delay_ms) == (5, 50)
    assert (up.bandwidth_mbps, down.bandwidth_mbps) == (0, 13)


def test_a_link_that_takes_time_one_way_is_not_ideal():
    assert LinkSpec().ideal
    assert not LinkSpec(up=DirectionSpec(delay_ms=1)).ideal
    assert not LinkSpec(down=DirectionSpec(loss=0.1)).ideal
    assert LinkSpec(preset="lte", up=PRESETS["none"].up, down=PRESETS["none"].down).ideal


@pytest.mark.parametrize(
    "value",
    [
        {"delay_ms": 1}, {"jitter_p50_ms": 1, "jitter_p90_ms": 2, "jitter_p99_ms": 3},
        {"slot_s": 15}, {"loss": 0.1}, {"bandwidth_mbps": 1}, {"duplicate": 0.1},
        {"reorder": 0.1}, {"outage_every_s": 1},
    ],
)  # fmt: skip
def test_one_fault_of_nature_is_enough_not_to_be_ideal(value):
    assert not LinkSpec(**value).ideal


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": float("nan")}, "delay_ms"),
        ({"loss": 1.0}, "loss"),
        ({"duplicate": 1.5}, "duplicate"),
        ({"outage_every_s": 1e-9}, "outage_every_s"),
        ({"slot_s": 1e-9}, "slot_s"),
        ({"jitter_p50_ms": 3}, "each greater than the one before, got 3, 0, 0"),
        ({"preset": "wifi", "jitter_p50_ms": 9}, "got 9, 5.8, 145"),
        ({"preset": "wifi", "jitter_max_ms": 140}, "jitter_max_ms must be farther"),
    ],
)
def test_what_no_link_can_be_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        LinkSpec(**values)
    down = {name: value for name, value in values.items() if name != "preset"}
    with pytest.raises(ValueError, match=words):
        LinkSpec(preset=values.get("preset", "none"), down=DirectionSpec(**down))


def test_a_symmetric_link_is_one_line_and_another_has_a_table():
    text = b'{"preset": "lte", "delay_ms": 3, "down": {"bandwidth_mbps": 20}}'
    up, down = msgspec.json.decode(text, type=LinkSpec).directions()
    assert (up.delay_ms, up.bandwidth_mbps) == (3, 6)
    assert (down.delay_ms, down.bandwidth_mbps) == (3, 20)
