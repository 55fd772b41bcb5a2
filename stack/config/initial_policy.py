"""Checks the policy that a deployment begins with, and makes it the first release of the cloud."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from tierloop.cloud.lineage import PolicyRecord
from tierloop.cloud.store import Store
from tierloop.contract.errors import UserError
from tierloop.contract.policy import Policy
from tierloop.contract.specs import PolicySpec
from tierloop.policy.artefact import BLOB_BYTES_MAX, Artefact, ArtefactError, digest, unpack
from tierloop.policy.engine import load, require_form, warm_up
from tierloop.policy.pace import require_pace
from tierloop.policy.shelf import GAP_MAX
from tierloop.stack.config.toml import check_file


def read(path: Path) -> Artefact:
    """Reads the artefact in `path` and tries it as every edge will.

    Raises UserError if it is no artefact, or if an edge would refuse it.
    """
    return _tried(path, _content(path), require_pace)


def check(path: Path, spec: PolicySpec) -> Artefact:
    """Reads the artefact as `read` does. Raises SpecError if it does not fit `spec`."""
    artefact = read(path)
    spec.require(artefact.manifest.spec, path.name)
    return artefact


def first(path: Path, spec: PolicySpec) -> PolicyRecord:
    """The artefact in `path` as a first release: what is judged is what is stored.

    Its pace was judged when the deployment was read. Raises UserError and SpecError as `check`.
    """
    blob = _content(path)
    manifest = _tried(path, blob).manifest
    spec.require(manifest.spec, path.name)
    return PolicyRecord(
        version=manifest.version,
        digest=digest(blob),
        parents=manifest.parents,
        state="released",
        metrics=manifest.metrics,
        blob=blob,
        data=(),
    )


def enter(path: Path, spec: PolicySpec, store: Path) -> None:
    """Makes the artefact the first release in the cloud's store, if there is none yet."""
    with contextlib.closing(Store(store)) as releases:
        if releases.policies.newest() is None:
            releases.policies.record(first(path, spec))


def _content(path: Path) -> bytes:
    """What is in a file, as far as it can be a policy. Raises UserError if there is none."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(BLOB_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _tried(path: Path, blob: bytes, pace: Callable[[Policy], None] | None = None) -> Artefact:
    try:
        artefact = unpack(blob)
    except ArtefactError as error:
        if path.suffix == ".onnx":
            raise UserError(
                f"{path} is an ONNX file, not a tierloop policy; the cloud and "
                "tierloop.cloud.export write tierloop policies, and 'tierloop bench --policy' "
                "measures an ONNX file"
            ) from None
        raise UserError(f"{path}: not a tierloop policy: {error}") from None
    try:
        if artefact.manifest.version > GAP_MAX:
            raise ArtefactError("version", f"{artefact.manifest.version}, at most {GAP_MAX}")
        require_form(artefact)
        policy = load(artefact, "numpy")
        warm_up(policy)
        if pace is not None:
            pace(policy)
    except ArtefactError as error:
        raise UserError(f"{path}: an edge would refuse this policy: {error}") from None
    return artefact
