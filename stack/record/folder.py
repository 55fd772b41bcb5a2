"""The folder of a record: made for one deployment, claimed by one run, read when it has ended."""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Report
from tierloop.contract.reading import reading
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.config.toml import leaves
from tierloop.stack.record import reports
from tierloop.stack.record.audit import audit
from tierloop.stack.record.books import balance, holdings
from tierloop.stack.record.claim import Claim, under_way
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.disks import releases
from tierloop.stack.record.files import write
from tierloop.stack.record.record import Record, fits
from tierloop.stack.record.summary import shed, summarise
from tierloop.stack.record.whole import WholeRecord

AnyRecord = TypeVar("AnyRecord", bound=Record)

DEPLOYMENT = "deployment.json"
PARTS = "parts"


def check_folder(out: Path, deployment: Deployment, processes: Iterable[str]) -> None:
    """Raises UserError if `out` cannot take the record of this run."""
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: not a folder; choose another --out")
        draft = f".{DEPLOYMENT}."
        if not out.exists() or all(path.name.startswith(draft) for path in out.iterdir()):
            return
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; choose another --out") from None
    _compare(out, deployment)
    for name in processes:
        if (out / PARTS / f"{name}{reports.SUFFIX}").exists():
            raise UserError(
                f"{out}: already contains a run; choose another --out (a run cannot be resumed)"
            )


def prepare(out: Path, deployment: Deployment) -> None:
    """Makes the record's folder, for this deployment alone. Raises UserError if that cannot be.

    Of several tiers that start at once the first to come says what is run.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if (out / DEPLOYMENT).exists():
                _compare(out, deployment)
            else:
                write(out / DEPLOYMENT, msgspec.json.encode(deployment))
        finally:
            os.close(folder)
        for name in ("logs", PARTS, "state"):
            (out / name).mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; choose another --out") from None


def claim(out: Path, deployment: Deployment, tiers: Sequence[str]) -> Claim:
    """These tiers of a prepared folder, this run's alone while it lives. Raises UserError."""
    with reading(out, "choose another --out"):
        held = Claim(out, tiers)
    check_folder(out, deployment, deployment.processes(*tiers))
    return held


def _compare(out: Path, deployment: Deployment) -> None:
    """Raises UserError, naming the first key that differs, if `out` is of another deployment."""
    try:
        other = stored(out)
    except UserError:
        raise UserError(
            f"{out}: not empty and not a record of a run; choose another --out"
        ) from None
    if other != deployment:
        there, here = (dict(leaves(msgspec.to_builtins(one))) for one in (other, deployment))
        key = next(key for key in (*here, *there) if here.get(key) != there.get(key))
        differs = f"{'.'.join(key)} is {there.get(key)} there and {here.get(key)} here"
        raise UserError(
            f"{out}: the record of another deployment ({differs}); choose another --out"
        )


def load(out: Path) -> tuple[Deployment, Record]:
    """What ran and what was reported of it. Raises UserError if `out` is no record."""
    deployment = stored(out)
    return deployment, _heard(out, Record(policy_spec(deployment.scenario)))


def load_whole(out: Path) -> tuple[Deployment, WholeRecord]:
    """As `load`, with every row."""
    deployment = stored(out)
    return deployment, _heard(out, WholeRecord(policy_spec(deployment.scenario)))


def _heard(out: Path, record: AnyRecord) -> AnyRecord:
    """Adds all that the parts hold, and what of them is damaged or was never written.

    Raises UserError for a run that is still going, and if there is no report to be read.
    """
    with reading(out):
        if under_way(out):
            raise UserError(f"{out}: the run has not ended yet; wait until it has")
        for found in reports.scan(out / PARTS):
            if isinstance(found, Damage):
                record.damaged.append(found)
            else:
                record.take(_of_this_version(out, found))
        record.damaged += [
            Damage(PARTS, f"not written: {lack.why}", -1, -1, lack.since_ns, lack.until_ns)
            for lack in reports.lacks_of(record.label(reports.LACKS))
        ]
    if not record.lives:
        what = "no reports that this version can read" if record.damaged else "no reports"
        raise UserError(f"{out}: not a record of a run ({what} in {PARTS}/)")
    return record


def told(out: Path) -> Iterator[Report]:
    """Every whole report in the parts, process by process, in order. Raises OSError, UserError."""
    return (_of_this_version(out, report) for report in reports.read(out / PARTS))


def _of_this_version(out: Path, report: Report) -> Report:
    """The report. Raises UserError if another version of the ledger is in it."""
    if not fits(report):
        raise UserError(
            f"{out}: its ledger has {report.decisions.shape[1]} columns, but this version of "
            f"tierloop has {len(LEDGER)}; use the version that wrote it"
        )
    return report


def stored(out: Path) -> Deployment:
    """The deployment that ran. Raises UserError if there is none that can be read."""
    path = out / DEPLOYMENT
    if not path.is_file():
        raise UserError(f"{out}: not a record of a run (no {DEPLOYMENT})")
    with reading(path, "damaged, or written by another version of tierloop"):
        deployment = msgspec.json.decode(path.read_bytes(), type=Deployment)
        for tier in (deployment.device, deployment.edge, deployment.cloud):
            hardware.load(tier.hardware)
        return deployment


def audited(record: Record, deployment: Deployment, out: Path) -> dict[str, Any]:
    """The summary of a record whose processes left their state under `out`."""
    acked = {
        (life.process, life.boot): int(life.last.counters.get("segments.acked", 0))
        for life in record.of("device")
    }
    found = audit(out, acked, shed(record.counters("edge")), record.damaged)
    books = balance(record, holdings(out))
    return summarise(record, deployment, found, releases(out), books)
