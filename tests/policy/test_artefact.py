"""The blob: what survives packing and what is refused, by reason."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_samples import SPEC, make_artefact, make_blob, make_manifest, make_spec

from tierloop.contract.errors import SpecError
from tierloop.policy import artefact as module
from tierloop.policy.artefact import Artefact, ArtefactError, Manifest, digest, pack, unpack
from tierloop.policy.mlp import Mlp


def forge(**changes) -> bytes:
    """A blob whose manifest was tampered with and packed again."""
    artefact = make_artefact()
    manifest = msgspec.to_builtins(artefact.manifest) | changes
    return msgspec.msgpack.encode([msgspec.msgpack.encode(manifest), artefact.onnx, artefact.mlp])


def reason(blob: bytes) -> str:
    with pytest.raises(ArtefactError) as caught:
        unpack(blob)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def test_packing_keeps_everything_and_is_repeatable():
    artefact = make_artefact(version=4)
    blob = pack(artefact)
    assert unpack(blob) == artefact
    assert pack(unpack(blob)) == blob
    assert digest(blob) == digest(pack(make_artefact(version=4)))
    assert digest(blob) != digest(make_blob(version=5))


def test_the_forge_of_these_tests_makes_good_blobs():
    assert unpack(forge()) == make_artefact()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": 2}, "format"),
        ({"format": 2, "novelty": 1}, "format"),
        ({"novelty": 1}, "malformed"),
        ({"version": "1"}, "malformed"),
        ({"version": -1}, "spec"),
        ({"onnx_sha256": "0" * 64}, "hash"),
        ({"mlp_sha256": "0" * 64}, "hash"),
        ({"spec": msgspec.to_builtins(make_spec(horizon=4))}, "spec"),
        ({"spec": msgspec.to_builtins(make_spec(features=9))}, "spec"),
        ({"spec": msgspec.to_builtins(SPEC) | {"horizon": 0}}, "spec"),
        ({"spec": msgspec.to_builtins(SPEC) | {"period_ns": 0}}, "spec"),
    ],
)
def test_a_forged_manifest_is_refused(changes, expected):
    assert reason(forge(**changes)) == expected


def test_an_impossible_array_spec_is_refused():
    spec = msgspec.to_builtins(SPEC)
    spec["action"]["low"] = spec["action"]["high"]
    assert reason(forge(spec=spec)) == "spec"


def test_parts_of_two_policies_do_not_mix():
    one, two = make_artefact(version=1), make_artefact(version=2)
    assert reason(pack(one._replace(mlp=two.mlp))) == "hash"
    assert reason(pack(one._replace(onnx=b"other"))) == "hash"


def test_a_network_of_another_spec_is_refused_though_its_hash_is_right():
    mlp = Mlp.random(make_spec(features=9), (8,), seed=0)
    manifest = msgspec.structs.replace(make_manifest(mlp, b"", 1), spec=SPEC)
    assert reason(pack(Artefact(manifest, b"", mlp.encode()))) == "spec"


def test_every_cut_is_refused():
    blob = make_blob()
    for length in range(0, len(blob), 7):
        assert reason(blob[:length]) in ("truncated", "malformed")
    assert reason(blob[:-1]) == "truncated"
    assert reason(blob + b"\0") == "malformed"


def test_an_endless_blob_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(module, "BLOB_BYTES_MAX", 100)
    assert reason(make_blob()) == "oversize"


@pytest.mark.parametrize("blob", [b"\x91" * 5000, b"\x80\x04K\x01.", b"PK\x03\x04", b"\xc1", b""])
def test_other_things_are_refused(blob):
    assert reason(blob) in ("malformed", "truncated")


@given(st.binary(max_size=300))
def test_noise_never_raises_anything_else(blob):
    with pytest.raises(ArtefactError):
        unpack(blob)


def test_a_manifest_cannot_lack_its_lineage():
    known = msgspec.to_builtins(make_artefact().manifest)
    for field in ("parents", "trained_on", "software", "seed", "samples"):
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({k: v for k, v in known.items() if k != field}, Manifest)


def test_a_misfit_for_a_body_is_one_line_naming_field_and_both_sizes():
    with pytest.raises(
        SpecError, match=r"^p: observation is float32\[9\], the body's is float32\[6\]$"
    ):
        SPEC.require(unpack(make_blob(spec=make_spec(features=9))).manifest.spec, "p")
