"""The fuzzer itself: repeatable, shrinks what fails, tells it in words, and takes no nonsense."""

import tomllib

import numpy as np
import pytest
from bugs import BUGS
from msgspec.structs import replace
from typer.testing import CliRunner

from tierloop.cli.app import app
from tierloop.contract.errors import UserError
from tierloop.fuzz import coverage
from tierloop.fuzz import session as module
from tierloop.fuzz.case import QUIET_S, draw
from tierloop.fuzz.session import conduct, text
from tierloop.fuzz.shrink import shrink
from tierloop.fuzz.signed_policies import foreign, signature, signed
from tierloop.fuzz.trial import live
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config.deployment_file import RunConfig
from tierloop.stack.faults.kinds import ClockStep, Delay, SensorFreeze

PLAIN = ["fuzz", "--seeds", "2", "--jobs", "1"]


def test_a_seed_is_one_case_and_one_run():
    case = draw(69, "safety", "analytic")
    assert case == draw(69, "safety", "analytic")
    first, second = live(case), live(case)
    assert first.trace == second.trace
    assert first.marks == second.marks
    assert live(draw(142, "safety", "analytic")).trace != first.trace


def test_cases_differ_and_those_for_liveness_leave_time():
    cases = [draw(seed, "liveness", "analytic") for seed in range(60)]
    assert len({fault.kind for case in cases for fault in case.deployment.fault}) > 12
    assert {len(case.deployment.scenario.robots) for case in cases} == {1, 2, 3}
    for case in cases:
        ends = [fault.end_ns for fault in case.deployment.fault]
        assert case.until_ns - max(ends, default=0) >= (QUIET_S - 0.01) * 1e9


def test_answers_tell_their_policies_apart():
    spec = policy_spec(draw(0, "safety", "analytic").deployment.scenario)
    one, two = signed(spec, 1), signed(spec, 2)
    features = spec.observation.sample(np.random.default_rng(0))[None]
    assert not foreign(one.forward(features)[0], one)
    assert foreign(one.forward(features)[0], two)
    assert signature(spec, 1).tolist() != signature(spec, 2).tolist()


def test_a_failure_is_shrunk_to_what_it_needs():
    plant, breaks, _ = BUGS["tick_replayed_after_overrun"]
    drawn = draw(12, "safety", "analytic")
    faults = (
        SensorFreeze(at_s=0.1, for_s=0.3, target="device"),
        ClockStep(at_s=0.4, target="device", step_ms=700.0),
        Delay(at_s=0.5, for_s=0.3, target="cloud", delay_ms=20.0),
    )
    deployment = replace(drawn.deployment, run=RunConfig(duration_s=1.2), fault=faults)
    case = replace(drawn, deployment=deployment, mishaps=())
    with plant():

        def fails(tried):
            return bool({*live(tried).found} & breaks)

        assert fails(case)
        shrunk = shrink(case, fails)
        (fault,) = shrunk.deployment.fault
        assert fault.kind == "clock_step"
        assert shrunk.deployment.run.duration_s == 1.0
        assert fails(shrunk)
    told = tomllib.loads(text(shrunk))
    assert told["fault"] == [
        {"kind": "clock_step", "at_s": fault.at_s, "target": fault.target, "step_ms": fault.step_ms}
    ]


def test_a_session_tells_marks_and_rate():
    result = CliRunner().invoke(app, PLAIN)
    assert result.exit_code == 0, result.output
    assert "2 seeds" in result.output
    assert "simulated hours per CPU hour" in result.output
    assert "No invariant was violated." in result.output
    assert all(mark in " ".join(result.output.split()) for mark in coverage.ALL)


def test_a_broken_promise_is_told_with_the_command_that_repeats_it(capsys, monkeypatch):
    """The promise is broken at 1.2 s: the rest of the seed's run is cut off."""

    def brief(*what):
        case = draw(*what)
        return replace(case, deployment=replace(case.deployment, run=RunConfig(duration_s=3.0)))

    monkeypatch.setattr(module, "draw", brief)
    plant = BUGS["hold_entered_late"].plant
    with plant():
        assert conduct((0,), "both", "analytic", 1) == 1
    told = capsys.readouterr().out
    assert "stale_action" in told
    assert "To reproduce:  tierloop fuzz --seed 0 --mode both --plant analytic" in told
    assert "The smallest case found that still fails:" in told
    assert "FAILED: seeds 0" in told


@pytest.mark.parametrize(
    ("seeds", "mode", "plant", "words"),
    [
        ((0,), "bold", "analytic", "--mode bold: choose one of: safety, liveness, both"),
        ((0,), "both", "steel", "--plant steel: choose one of: analytic, bullet"),
        ((), "both", "analytic", "must be at least 1"),
        ((-1,), "both", "analytic", "no seed below 0"),
    ],
)
def test_nonsense_is_refused_in_one_line(seeds, mode, plant, words):
    with pytest.raises(UserError, match=words):
        conduct(seeds, mode, plant, None)
