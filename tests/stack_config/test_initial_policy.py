"""A policy to begin with must fit the body, and becomes the cloud's first release."""

import os
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from tierloop.cloud import main as cloud_main
from tierloop.cloud.export import export, to_onnx
from tierloop.cloud.opening import opened
from tierloop.cloud.store import Store
from tierloop.contract.clock import WallClock
from tierloop.contract.errors import SpecError, UserError
from tierloop.contract.specs import PolicySpec
from tierloop.policy.artefact import BLOB_BYTES_MAX, digest, pack, unpack
from tierloop.policy.mlp import Mlp
from tierloop.sim.scenario import Scenario, policy_spec
from tierloop.stack.config import initial_policy
from tierloop.stack.config.deployment import load, resolve
from tierloop.stack.config.deployment_file import DeploymentFile, PolicyConfig
from tierloop.stack.config.initial_policy import check, enter, first
from tierloop.stack.order import Order
from tierloop.stack.wall.processes import ROLES

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


def test_a_cloud_begun_again_needs_the_file_no_more(tmp_path, monkeypatch):
    given, newest = tmp_path / "a.policy", []
    blob = artefact(given, SPEC)
    deployment = resolve(DeploymentFile(name="d", policy=PolicyConfig(initial=str(given))))
    order = Order(
        name="cloud", role="cloud", deployment=deployment, out=str(tmp_path), report_to=""
    )

    def run(*, begin, **_):
        store, release = opened(order.state / "store.sqlite", begin, 1, WallClock(), None)
        store.close()
        newest.append(release.blob)
        return 0

    monkeypatch.setattr(cloud_main, "run", run)
    assert ROLES["cloud"].run(order) == 0
    given.rename(tmp_path / "elsewhere.policy")
    assert ROLES["cloud"].run(order) == 0
    assert newest == [blob, blob]


def test_what_is_judged_is_what_is_stored(tmp_path, monkeypatch):
    """The file is another one as soon as it was read."""
    given = tmp_path / "a.policy"
    blob = artefact(given, SPEC)
    judged = initial_policy.unpack

    def unpack_and_replace(content: bytes):
        given.write_bytes(b"another")
        return judged(content)

    monkeypatch.setattr(initial_policy, "unpack", unpack_and_replace)
    assert first(given, SPEC).blob == blob


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_what_has_no_end_is_no_policy(tmp_path, kind):
    given = tmp_path / "a.policy"
    os.mkfifo(given) if kind == "fifo" else given.symlink_to(kind)
    with pytest.raises(UserError, match=r"a\.policy: not a file$"):
        check(given, SPEC)


def test_a_file_of_any_size_is_read_to_the_largest_policy_alone(tmp_path):
    given = tmp_path / "a.policy"
    with given.open("wb") as file:
        file.truncate(64 * BLOB_BYTES_MAX)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="oversize"):
            check(given, SPEC)
        assert tracemalloc.get_traced_memory()[1] < 2 * BLOB_BYTES_MAX
    finally:
        tracemalloc.stop()


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
    with pytest.raises(UserError, match=r"bad\.policy: an edge would refuse this policy: parity: "):
        check(tmp_path / "bad.policy", SPEC)
    artefact(tmp_path / "far.policy", SPEC, version=2**40)
    with pytest.raises(UserError, match=r"an edge would refuse this policy: version: "):
        check(tmp_path / "far.policy", SPEC)
