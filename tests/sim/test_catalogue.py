"""Names to modules, and what is told to whoever asks for one that is not there."""

from contextlib import closing

import msgspec
import pytest
from virtual_plants import deployment

from tierloop.cloud.config import LearnerConfig
from tierloop.contract.errors import SpecError
from tierloop.sim import catalogue
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.virtual.stack import VirtualStack


def test_a_task_without_an_expert_is_told_with_both_remedies():
    spec = msgspec.structs.replace(policy_spec(Scenario()), task="pick", body="iiwa")
    with pytest.raises(SpecError) as told:
        catalogue.expert(spec)
    assert str(told.value).startswith("no expert for task 'pick' with body 'iiwa'; add one")
    assert str(told.value).endswith("set learner.rounds_max = 0 to run without learning")


def test_without_rounds_a_stack_runs_without_an_expert(monkeypatch, tmp_path):
    monkeypatch.delitem(catalogue.EXPERTS, ("reach", "plant"))
    learns = msgspec.structs.replace(deployment(), learner=LearnerConfig())
    with pytest.raises(SpecError, match="no expert for task 'reach' with body 'plant'"):
        VirtualStack(learns, 1, tmp_path / "learns")
    runs = msgspec.structs.replace(learns, learner=LearnerConfig(rounds_max=0))
    with closing(VirtualStack(runs, 1, tmp_path / "runs")) as stack:
        stack.run(2_000_000_000)
        assert stack.turns > 0
