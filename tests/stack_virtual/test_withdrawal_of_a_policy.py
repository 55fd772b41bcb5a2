"""A release that the bodies live worse with is taken back: cloud, edge, bodies, record."""

import json
from contextlib import closing

import msgspec
from virtual_plants import deployment, plants

from tierloop.cloud.config import LearnerConfig
from tierloop.cloud.export import export
from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.store import Store
from tierloop.fuzz.signed_policies import write
from tierloop.policy.artefact import digest, pack
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config.deployment_file import PolicyConfig
from tierloop.stack.record.invariants import invariants


def release_a_bad_one(path, spec):
    """What passed in the twin may be no good: version 2 is as random as can be."""
    artefact = export(
        Mlp.random(spec, (8,), 3), version=2, parents=(1,), software="1", seed=0, trained_on=(),
        samples={}, metrics={},
    )  # fmt: skip
    blob = pack(artefact)
    with closing(Store(path)) as store:
        store.policies.record(PolicyRecord(2, digest(blob), (1,), "released", {}, blob, ()))


def test_the_edge_goes_back_the_bodies_recover_and_the_record_says_so(tmp_path):
    learner = LearnerConfig(rounds_max=3, min_lived=10**9)
    scenario = Scenario(task="reach", body="plant", robots=("p-0", "p-1"), episode_s=3.0)
    made = deployment(learner=learner, scenario=scenario)
    spec = policy_spec(made.scenario)
    write(tmp_path / "good", spec, 1)
    initial = PolicyConfig(initial=str(tmp_path / "good"))
    with plants(msgspec.structs.replace(made, policy=initial)) as p:
        p.run(16)
        p.stack.crash("cloud")
        release_a_bad_one(p.folder / "state" / "cloud" / "store.sqlite", spec)
        p.stack.restart("cloud")
        p.run(4)
        assert p.stack.nodes["edge"].releases.policy.version == 2
        p.run(22)
        assert p.stack.nodes["edge"].releases.policy.version == 1
        assert p.told("cloud").count("release_withdrawn") == 1
        p.stack.finish()
        journal = json.loads((p.folder / "state/edge/policies/journal.json").read_text())
        assert [(e["action"], e["version"]) for e in journal][-1] == ("rollback", 1)
        with closing(Store(p.folder / "state" / "cloud" / "store.sqlite")) as store:
            assert [version for version, _ in store.policies.withdrawn()] == [2]
            assert store.policies.newest().version == 1
        found = invariants(p.record, p.audit())
        assert found["version_regress"] == 0
        lived = [o for life in p.record.of("device") for o in p.record.judged(life)]
        assert not any(outcome.success for outcome in lived if outcome.policy_version == 2)
        assert {(o.policy_version, o.success) for o in lived[-6:]} == {(1, True)}
