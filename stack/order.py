"""What a process of a stack is told when it starts, on either clock."""

import hashlib
from pathlib import Path

import msgspec

from tierloop.contract.version import __version__
from tierloop.stack.config.deployment import Deployment
from tierloop.stack.faults.kinds import Faults
from tierloop.stack.faults.timeline import own


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is told: who it is, what to run, where to keep state, where to report."""

    name: str
    role: str
    deployment: Deployment
    out: str
    report_to: str
    began_ns: int = 0
    """When the run began, by the host's monotonic clock: faults count from there."""
    boot: int = 0
    """Tells this life from every other of this name; grows from one to the next."""

    @property
    def faults(self) -> Faults:
        """Those that befall this process itself."""
        return own(self.deployment.fault, self.name, self.deployment.scenario.robots)

    @property
    def software(self) -> str:
        return f"tierloop {__version__}"

    @property
    def state(self) -> Path:
        return Path(self.out) / "state" / self.role

    @property
    def seed(self) -> int:
        """A seed of this process's own, from the deployment's and its name; below 2^31."""
        text = f"{self.deployment.seed}/{self.name}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
