"""A policy to begin with must fit the body, and becomes the cloud's first release."""

from pathlib import Path

import msgspec
import pytest

from cloud.export import export, to_onnx
from cloud.store import Store
from contract.errors import SpecError, UserError
from contract.specs import PolicySpec
from policy.artefact import digest, pack, unpack
from policy.mlp import Mlp
from sim.scenario import Scenario, policy_spec
from tierloop.deployment import load
from tierloop.initial import check, enter

SPEC = policy_spec(Scenario())


def artefact(path: Path, spec: PolicySpec, version: int = 4) -> bytes:
    made = export(
        Mlp.random(spec, (8,), 0), version=version, parents=(), software="test", seed=0,
        trained_on=(), samples={}, metrics={},
    )  # fmt: skip
    blob = pack(made)
    path.write_bytes(blob)
    return blob


def test_one_that_fits_is_entered_once(tmp_path):
    blob = artefact(tmp_path / "a.policy", SPEC)
    store = tmp_path / "cloud" / "store.sqlite"
    enter(tmp_path / "a.policy", SPEC, store)
    enter(tmp_path / "a.policy", SPEC, store)
    releases = Store(store)
    newest = releases.policies.newest()
    assert newest is not None
    assert (newest.version, newest.digest, newest.blob) == (4, digest(blob), blob)
    assert releases.policies.next_version() == 5
    releases.close()


def test_a_misfit_is_refused_with_file_line_and_both_shapes(tmp_path):
    artefact(tmp_path / "b.policy", msgspec.structs.replace(SPEC, horizon=3))
    with pytest.raises(SpecError, match="horizon differs from the body's: 3, not 8"):
        check(tmp_path / "b.policy", SPEC)
    (tmp_path / "cell.toml").write_text('name = "c"\n[policy]\ninitial = "b.policy"\n')
    with pytest.raises(UserError, match=r"cell\.toml:3: key 'initial' in \[policy\]: b\.policy"):
        load(tmp_path / "cell.toml")


def test_what_is_no_artefact_is_refused(tmp_path):
    (tmp_path / "c.policy").write_bytes(b"not one")
    with pytest.raises(UserError, match="not a tierloop policy"):
        check(tmp_path / "c.policy", SPEC)


def test_a_policy_that_no_edge_would_take_is_found_before_the_run(tmp_path):
    artefact(tmp_path / "bad.policy", SPEC)
    good = unpack((tmp_path / "bad.policy").read_bytes())
    graph = to_onnx(Mlp.random(SPEC, (8,), seed=9))
    manifest = msgspec.structs.replace(good.manifest, onnx_sha256=digest(graph))
    (tmp_path / "bad.policy").write_bytes(pack(good._replace(manifest=manifest, onnx=graph)))
    with pytest.raises(UserError, match=r"bad\.policy: no edge would take this policy: parity: "):
        check(tmp_path / "bad.policy", SPEC)
    artefact(tmp_path / "far.policy", SPEC, version=2**40)
    with pytest.raises(UserError, match=r"no edge would take this policy: version: "):
        check(tmp_path / "far.policy", SPEC)
