"""A deployment: one TOML file says what runs, where, on what seed and for how long."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cloud.config import CloudConfig, LearnerConfig
from contract.errors import UserError
from device.config import DeviceConfig
from edge.config import EdgeConfig
from link.sockets import check_loopback
from sim.scenario import Scenario, body_spec, policy_spec
from tierloop.strict import Source

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
        if self.duration_s <= 0:
            raise ValueError("duration_s must be positive")
        if not 0 <= self.until_success <= 1:
            raise ValueError("until_success must lie between 0 and 1")
        if self.until_episodes < 1:
            raise ValueError("until_episodes must be at least 1")


class LinksConfig(_Table, frozen=True, kw_only=True):
    """The `[links]` table: where the servers listen."""

    device_edge: str = "tcp://127.0.0.1:7811"
    """The edge serves its devices here."""
    edge_cloud: str = "tcp://127.0.0.1:7812"
    """The cloud serves its edges here."""

    def __post_init__(self) -> None:
        for address in (self.device_edge, self.edge_cloud):
            try:
                check_loopback(address)
            except UserError as error:
                raise ValueError(str(error)) from None
        if self.device_edge == self.edge_cloud:
            raise ValueError(f"device_edge and edge_cloud share the address {self.edge_cloud}")


class PolicyConfig(_Table, frozen=True, kw_only=True):
    """The `[policy]` table."""

    initial: str = ""
    """A policy artefact to begin with, relative to this file; empty means to begin untrained."""


class Deployment(_Table, frozen=True, kw_only=True):
    """A whole deployment file, checked."""

    name: str
    """Names the deployment in its record; lower case, digits, dash and underscore."""
    seed: int = 0
    """The seed from which every other is derived."""
    run: RunConfig = RunConfig()
    scenario: Scenario = Scenario()
    device: DeviceConfig = DeviceConfig()
    edge: EdgeConfig = EdgeConfig()
    cloud: CloudConfig = CloudConfig()
    learner: LearnerConfig = LearnerConfig()
    links: LinksConfig = LinksConfig()
    policy: PolicyConfig = PolicyConfig()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no name: use a to z, 0 to 9, dash and underscore")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must lie between 0 and 2^63 - 1")
        for robot in self.scenario.robots:
            if not _NAME.fullmatch(robot) or robot in ("edge", "cloud", "roof"):
                raise ValueError(f"'{robot}' cannot name a robot: use a to z, 0 to 9 and dash")
        try:
            body_spec(self.scenario)
            policy_spec(self.scenario)
        except UserError as error:
            raise ValueError(str(error)) from None


def load(path: Path, options: Sequence[str] = ()) -> Deployment:
    """The deployment in `path` with `--set` options applied. Raises UserError in one line."""
    source = Source(path, options)
    deployment = source.convert(Deployment)
    if not deployment.policy.initial:
        return deployment
    from tierloop.initial import check

    initial = (path.parent / deployment.policy.initial).resolve()
    try:
        check(initial, policy_spec(deployment.scenario))
    except UserError as error:
        keys = ("policy", "initial")
        raise UserError(f"{source.where(keys)}: key 'initial' in [policy]: {error}") from None
    policy = PolicyConfig(initial=str(initial))
    return msgspec.structs.replace(deployment, policy=policy)
