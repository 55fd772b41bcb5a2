"""The artefact: the bytes of a released policy, with its origin.

MessagePack of three parts: the manifest, the network as ONNX, the same network as plain numbers.
The manifest holds the hash of the other two, and the blob's own hash is what an Offer names, so
that one digest covers weights, normaliser, limits, spec and lineage. No pickle, no archive.
"""

import hashlib
from math import isfinite
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tierloop.contract.errors import SpecError
from tierloop.contract.specs import PolicySpec
from tierloop.policy.mlp import Mlp

FORMAT = 1
BLOB_BYTES_MAX = 16 * 1024 * 1024
"""Cap of a blob: a network of two million numbers in both forms."""

MANIFEST_BYTES_MAX = 1024 * 1024
"""Cap of a manifest, which is mostly the ranges of what was learnt from."""

NAMED_MAX = 1024
"""Parents, sources of samples and figures of one policy."""

DETAIL_MAX = 400
"""Characters of a refusal's sentence: what it quotes may be of any length."""


class ArtefactError(Exception):
    """A policy is refused; `reason` is a short word fit for a counter."""

    def __init__(self, reason: str, detail: str = "") -> None:
        detail = " ".join(detail[:DETAIL_MAX].split())
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class DataRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Segments `first` to `last` (both included) of one boot of one device."""

    device: str
    boot: int
    first: int
    last: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy is and where it comes from.

    `parents`: versions it was trained on from; `samples`: training samples by source; `metrics`:
    figures of gate and export by name.
    """

    format: int = FORMAT
    version: int
    spec: PolicySpec
    parents: Annotated[tuple[int, ...], Meta(max_length=NAMED_MAX)]
    software: str
    seed: int
    trained_on: tuple[DataRange, ...]
    samples: Annotated[dict[str, int], Meta(max_length=NAMED_MAX)]
    metrics: Annotated[dict[str, float], Meta(max_length=NAMED_MAX)]
    onnx_sha256: str
    mlp_sha256: str


class Artefact(NamedTuple):
    """A policy with both forms of its network; `mlp` is what Mlp.encode gave."""

    manifest: Manifest
    onnx: bytes
    mlp: bytes


class _Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    manifest: bytes
    onnx: bytes
    mlp: bytes


class _Format(msgspec.Struct, frozen=True):
    format: int


def digest(blob: bytes) -> str:
    """SHA-256 in hex: the name of a blob."""
    return hashlib.sha256(blob).hexdigest()


def pack(artefact: Artefact) -> bytes:
    """The blob of an artefact; equal artefacts give equal bytes."""
    manifest = msgspec.msgpack.encode(artefact.manifest, order="deterministic")
    return msgspec.msgpack.encode(_Envelope(manifest, artefact.onnx, artefact.mlp))


def unpack(blob: bytes) -> Artefact:
    """The artefact in a blob, checked: size, format, hashes, spec, network against spec.

    Raises ArtefactError with reason oversize, truncated, malformed, format, hash or spec.
    """
    if len(blob) > BLOB_BYTES_MAX:
        raise ArtefactError("oversize", f"{len(blob)} bytes, at most {BLOB_BYTES_MAX}")
    try:
        envelope = msgspec.msgpack.decode(blob, type=_Envelope)
        if len(envelope.manifest) > MANIFEST_BYTES_MAX:
            raise ArtefactError("oversize", f"a manifest of {len(envelope.manifest)} bytes")
        found = msgspec.msgpack.decode(envelope.manifest, type=_Format).format
        if found != FORMAT:
            raise ArtefactError("format", f"{found}, this software reads {FORMAT}")
        manifest = msgspec.msgpack.decode(envelope.manifest, type=Manifest)
    except SpecError as error:
        raise ArtefactError("spec", str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "truncated" if "truncated" in str(error) else "malformed"
        raise ArtefactError(reason, str(error)) from None
    artefact = Artefact(manifest, envelope.onnx, envelope.mlp)
    _verify(artefact)
    return artefact


def _verify(artefact: Artefact) -> None:
    manifest = artefact.manifest
    for part, expected in (("onnx", manifest.onnx_sha256), ("mlp", manifest.mlp_sha256)):
        if digest(getattr(artefact, part)) != expected:
            raise ArtefactError("hash", f"{part} is not what the manifest says")
    if manifest.version < 0 or manifest.spec.horizon < 1 or manifest.spec.period_ns < 1:
        raise ArtefactError("spec", "version, horizon and period must not be negative or zero")
    if not all(map(isfinite, manifest.metrics.values())):
        raise ArtefactError("malformed", "a metric is no number")
    try:
        Mlp.decode(artefact.mlp, manifest.spec)
    except SpecError as error:
        raise ArtefactError("spec", str(error)) from None
