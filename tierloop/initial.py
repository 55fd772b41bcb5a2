"""A policy to begin with: checked against the body, then entered as the cloud's first release."""

import contextlib
from pathlib import Path

from contract.errors import UserError
from contract.specs import PolicySpec
from policy.artefact import Artefact, ArtefactError, digest, unpack
from policy.engine import load, require_form, require_pace, warm_up
from policy.shelf import GAP_MAX
from tierloop.strict import check_file


def read(path: Path) -> Artefact:
    """The artefact in `path`, tried as every edge will try it.

    Raises UserError if it is none, or none that an edge would take.
    """
    check_file(path)
    try:
        artefact = unpack(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except ArtefactError as error:
        if path.suffix == ".onnx":
            raise UserError(
                f"{path} is an ONNX file, not a tierloop policy, which the cloud or "
                "cloud/export.py writes; 'tierloop bench --policy' measures an ONNX file as it is"
            ) from None
        raise UserError(f"{path}: not a tierloop policy: {error}") from None
    try:
        if artefact.manifest.version > GAP_MAX:
            raise ArtefactError("version", f"{artefact.manifest.version}, at most {GAP_MAX}")
        require_form(artefact)
        policy = load(artefact, "numpy")
        warm_up(policy)
        require_pace(policy)
    except ArtefactError as error:
        raise UserError(f"{path}: no edge would take this policy: {error}") from None
    return artefact


def check(path: Path, spec: PolicySpec) -> Artefact:
    """What `read` gives. Raises UserError as it does, SpecError if it does not fit."""
    artefact = read(path)
    spec.require(artefact.manifest.spec, path.name)
    return artefact


def enter(path: Path, spec: PolicySpec, store: Path) -> None:
    """Makes the artefact the first release in the cloud's store, if there is none yet."""
    from cloud.lineage import PolicyRecord
    from cloud.store import Store

    manifest = check(path, spec).manifest
    blob = path.read_bytes()
    with contextlib.closing(Store(store)) as releases:
        if releases.policies.newest() is None:
            releases.policies.record(
                PolicyRecord(
                    version=manifest.version,
                    digest=digest(blob),
                    parents=manifest.parents,
                    state="released",
                    metrics=manifest.metrics,
                    blob=blob,
                    data=(),
                )
            )
