"""The tables of a deployment file as a person writes them, with their checks. Reads no file."""

import re
from itertools import pairwise
from math import inf
from pathlib import Path

import msgspec

from tierloop.cloud.config import CloudConfig, LearnerConfig
from tierloop.contract.budget import Budget
from tierloop.contract.errors import UserError
from tierloop.contract.messages import ActionChunk, Segment
from tierloop.contract.specs import PolicySpec
from tierloop.contract.streams import MAX_BYTES
from tierloop.device.config import DeviceConfig
from tierloop.edge.config import EdgeConfig
from tierloop.link.address import check_address, private
from tierloop.link.spec import LinkSpec
from tierloop.policy.artefact import BLOB_BYTES_MAX
from tierloop.sim.reality import NOMINAL, Reality
from tierloop.sim.scenario import Scenario, body_spec, policy_spec
from tierloop.stack.faults import timeline
from tierloop.stack.faults.kinds import Faults

_HEADER_BYTES = 8192
"""Allowance for what a message carries beside its arrays."""
TIERS = ("device", "edge", "cloud")
PRIVATE = "ipc"
"""In place of an address: a Unix socket in a private folder."""
POSES_HZ_MAX = 240
"""More a second shows an eye no more."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of this module's tables."""


class RunConfig(_Table, frozen=True, kw_only=True):
    """The `[run]` table: when a run ends."""

    duration_s: float = 600.0
    """A run lasts this long at most."""
    until_success: float = 0.0
    """End early once the newest policy version succeeds at this rate; 0 turns this off."""
    until_episodes: int = 20
    """Episodes the bodies must have lived under that version before its rate counts."""

    def __post_init__(self) -> None:
        if not 0 < self.duration_s < inf:
            raise ValueError("duration_s must be greater than 0")
        if not 0 <= self.until_success <= 1:
            raise ValueError("until_success must lie between 0 and 1")
        if self.until_episodes < 1:
            raise ValueError("until_episodes must be at least 1")


class LinksConfig(_Table, frozen=True, kw_only=True):
    """The `[links]` table: where the servers listen, and what the way there is like."""

    device_edge: str = PRIVATE
    """The edge serves its robots here: "ipc" is a Unix socket in a private folder, which the other
    tiers find by the record's folder; tcp://127.0.0.1:PORT is open to all users of the host."""
    edge_cloud: str = PRIVATE
    """The cloud serves its edge here, likewise."""
    device: LinkSpec = LinkSpec()
    """Between each device and the edge, both ways; by default nothing is modelled."""
    cloud: LinkSpec = LinkSpec()
    """Between the edge and the cloud, both ways; by default nothing is modelled."""

    def __post_init__(self) -> None:
        given = [a for a in (self.device_edge, self.edge_cloud) if a != PRIVATE]
        for address in given:
            try:
                check_address(address)
            except UserError as error:
                raise ValueError(f"{error}, or '{PRIVATE}'") from None
        if len(given) > len(set(given)):
            raise ValueError(f"device_edge and edge_cloud have the same address {self.edge_cloud}")

    def placed(self, out: Path) -> "LinksConfig":
        """These links with a real address in place of each "ipc", for a record in `out`.

        Raises UserError if there is no place for a private socket.
        """
        ends = {"device_edge": self.device_edge, "edge_cloud": self.edge_cloud}
        found = {
            name: private(str(out.resolve()), name) if address == PRIVATE else address
            for name, address in ends.items()
        }
        return msgspec.structs.replace(self, **found)


class PolicyConfig(_Table, frozen=True, kw_only=True):
    """The `[policy]` table."""

    initial: str = ""
    """A policy artefact to begin with, relative to this file; empty means to begin untrained."""


class RecordConfig(_Table, frozen=True, kw_only=True):
    """The `[record]` table: what the record keeps beside what its figures rest on."""

    poses_hz: int = 30
    """Poses of each simulated robot, and of what moves about it, at least so many times a second,
    or at every control tick of a slower loop. 0 keeps none."""
    ledger: bool = True
    """Write ledger.parquet at the end."""

    def __post_init__(self) -> None:
        if not 0 <= self.poses_hz <= POSES_HZ_MAX:
            raise ValueError(f"poses_hz must lie between 0 and {POSES_HZ_MAX}")

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the record does without."""
        kept = {"poses": self.poses_hz > 0, "ledger": self.ledger}
        return tuple(name for name, here in kept.items() if not here)


class DeploymentFile(_Table, frozen=True, kw_only=True):
    """A whole deployment file, checked."""

    name: str
    """Names the deployment in its record; lower case, digits, dash and underscore."""
    seed: int = 0
    """The seed from which every other is derived."""
    run: RunConfig = RunConfig()
    scenario: Scenario = Scenario()
    reality: Reality = NOMINAL
    device: DeviceConfig = DeviceConfig()
    edge: EdgeConfig = EdgeConfig()
    cloud: CloudConfig = CloudConfig()
    learner: LearnerConfig = LearnerConfig()
    links: LinksConfig = LinksConfig()
    policy: PolicyConfig = PolicyConfig()
    record: RecordConfig = RecordConfig()
    fault: Faults = ()
    """What goes wrong, when and where; docs/faults.md lists the kinds."""
    budget: tuple[Budget, ...] = ()
    """What a run may cost at most; docs/benchmarks.md lists the metrics."""

    def processes(self, *tiers: str) -> tuple[str, ...]:
        """The names of the processes of these tiers."""
        return tuple(
            name
            for tier in tiers
            for name in (self.scenario.robots if tier == "device" else (tier,))
        )

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"'{self.name}' is not a valid name: use a to z, 0 to 9, dash and underscore"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must lie between 0 and 2^63 - 1")
        for robot in self.scenario.robots:
            if not _NAME.fullmatch(robot) or robot in (*TIERS, "roof"):
                raise ValueError(
                    f"'{robot}' is not a valid name of a robot: use a to z, 0 to 9 and dash"
                )
        try:
            body_spec(self.scenario)
            self._sizes(policy_spec(self.scenario))
        except UserError as error:
            raise ValueError(str(error)) from None
        timeline.check(self.fault, self.scenario.robots)

    def _sizes(self, spec: PolicySpec) -> None:
        """What crosses the tiers must fit its stream, or no message of it would ever leave."""
        decisions, numbers = self.device.segment_decisions, spec.observation.size + spec.action.size
        for what, size, message in (
            ("scenario.horizon", 4 * spec.horizon * spec.action.size, ActionChunk),
            ("device.segment_decisions", decisions * (4 * numbers + 24), Segment),
        ):
            most = MAX_BYTES[message] - _HEADER_BYTES
            if size > most:
                raise ValueError(
                    f"{what} makes a message of {size} bytes; at most {most} are allowed"
                )
        inputs, outputs = spec.observation.size, spec.horizon * spec.action.size
        widths = (inputs, *self.learner.hidden, outputs)
        numbers = sum((a + 1) * b for a, b in pairwise(widths))
        if (size := 4 * (2 * numbers + inputs * outputs)) > BLOB_BYTES_MAX - _HEADER_BYTES:
            raise ValueError(
                f"learner.hidden makes a policy of {size} bytes; "
                f"at most {BLOB_BYTES_MAX - _HEADER_BYTES} are allowed"
            )
