"""Runs on the virtual clock: energy is conserved, and an empty pack stops its robot."""

from pathlib import Path

import msgspec
import pytest
from virtual_plants import Watched, plants_file

from tierloop.contract.ledger import INDEX, Refusal, Rung
from tierloop.device.config import DeviceConfig
from tierloop.device.energy import BatteryConfig
from tierloop.stack.config.deployment import Deployment, resolve
from tierloop.stack.record.energy import account, unbalanced
from tierloop.stack.record.invariants import invariants

NEARLY_EMPTY = BatteryConfig(series=1, parallel=1, soc=0.055)


def powered(battery: BatteryConfig) -> Deployment:
    device = DeviceConfig(battery=battery)
    return resolve(msgspec.structs.replace(plants_file(1), device=device))


def run(folder: Path, battery: BatteryConfig, seconds: float, seed: int = 1) -> Watched:
    watched = Watched(folder, powered(battery), seed)
    watched.run(seconds)
    watched.stack.close()
    return watched


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> Watched:
    return run(tmp_path_factory.mktemp("flat"), NEARLY_EMPTY, 30.0)


def test_a_pack_that_cuts_out_stops_its_robot_and_the_run_says_so(flat):
    (event,) = [h for h in flat.record.happenings if h.name == "battery"]
    assert event.process == "p-0"
    assert "controlled stop" in event.detail
    rows = flat.record.decisions()
    after = [row for row in rows if row[INDEX["captured_ns"]] > event.at_ns + 10**8]
    before = [row for row in rows if row[INDEX["captured_ns"]] < event.at_ns]
    assert len(before) > 20
    assert len(after) > 20
    assert {int(row[INDEX["rung"]]) for row in after} == {Rung.STOP}
    assert not any(row[INDEX["applied_ns"]] for row in after)
    answered = [row for row in after if row[INDEX["received_ns"]]]
    assert answered
    reasons = {int(row[INDEX["refused"]]) for row in answered}
    assert Refusal.STOPPED in reasons
    assert reasons <= {Refusal.STOPPED, Refusal.EXPIRED}
    assert before[0][INDEX["soc_ppm"]] > before[-1][INDEX["soc_ppm"]] > after[-1][INDEX["soc_ppm"]]


def test_its_account_says_so_too_and_balances(flat):
    told = powered(NEARLY_EMPTY)
    found = account(flat.record, told, 0)
    battery = found["battery"]["p-0"]
    assert battery["cut_out"]
    assert battery["lowest_v"] < 3.0
    assert battery["given_j"] == pytest.approx(sum(found["device"].values()), rel=1e-3)
    assert unbalanced(flat.record) == 0
    judged = invariants(flat.record, flat.audit())
    assert judged.pop("energy_conserved") == 0
    judged.pop("conservation")  # Of messages: the processes' last reports are of several instants.
    assert not any(judged.values())


def test_two_runs_of_a_seed_agree_to_the_bit(tmp_path):
    ends = [run(tmp_path / name, BatteryConfig(), 3.0).record.of("device") for name in "ab"]
    (one,), (other,) = ends
    assert one.last.counters == other.last.counters
    assert one.last.gauges == other.last.gauges
    assert one.last.gauges["battery.cut_out"] == 0.0
    assert 0.99999 > one.last.gauges["battery.soc"] > 0.99
