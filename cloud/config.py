"""The tables [cloud] and [learner] of a deployment file, checked."""

from ipaddress import ip_address
from itertools import pairwise

import msgspec

from tierloop.cloud.gate import least_wins
from tierloop.policy.mlp import LAYERS_MAX, WIDTH_MAX

COUNT_MAX, WORKERS_MAX = 1_000_000, 1024
"""Beyond these a round would not end, or a cluster not start."""

WEIGHTS_MAX = 2_000_000
"""Weights between hidden layers: an artefact holds each twice, in 16 MiB at most."""


CLOUD = "cloud"
"""The name and the role of its process."""

IDLE_PHASES = ("starting", "collecting", "retrying", "resting")
"""Phases of the cloud in which no round is under way; energy counts the others as busy."""


class LearnerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[learner]` table: on-policy imitation (DAgger) and its gate."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    learning_rate: float = 1e-3
    """Adam's step size at the start of a round; it decays to a tenth by a cosine."""
    batch_size: int = 256
    """Samples a gradient step."""
    steps_per_round: int = 800
    """Gradient steps a round, from the weights of the last one."""
    twin_episodes: int = 16
    """Episodes a round that the student lives through in the twin."""
    rows_max: int = 100_000
    """Rows that are learnt from: beyond it a uniform sample of all that came."""
    min_lived: int = 200
    """Lived decisions that must have come in before the first round."""
    gate_episodes: int = 120
    """Fresh seeds a round, at most, on which candidate and incumbent play one episode each."""
    gate_p: float = 0.0025
    """A round releases a candidate that is no better with a chance of at most this."""
    rounds_max: int = 40
    """Rounds after which learning rests; 0 means that nothing is learnt."""

    def __post_init__(self) -> None:
        for field in (
            "batch_size",
            "rows_max",
            "steps_per_round",
            "twin_episodes",
            "gate_episodes",
        ):
            if not 1 <= getattr(self, field) <= COUNT_MAX:
                raise ValueError(f"{field} must lie between 1 and {COUNT_MAX}")
        if self.rounds_max < 0 or self.min_lived < 0:
            raise ValueError("rounds_max and min_lived must not be negative")
        if not self.hidden or not all(1 <= width <= WIDTH_MAX for width in self.hidden):
            raise ValueError(f"widths in hidden must lie between 1 and {WIDTH_MAX}")
        weights = sum(one * next_one for one, next_one in pairwise(self.hidden))
        if len(self.hidden) >= LAYERS_MAX or weights > WEIGHTS_MAX:
            raise ValueError(
                f"hidden has {len(self.hidden)} layers and {weights} weights between them; "
                f"at most {LAYERS_MAX - 1} and {WEIGHTS_MAX} are trained"
            )
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be positive")
        if not 0 < self.gate_p < 1:
            raise ValueError("gate_p must lie between 0 and 1")
        if self.gate_episodes < (least := least_wins(self.gate_p)):
            raise ValueError(
                f"{self.gate_episodes} gate_episodes can release nothing at gate_p = "
                f"{self.gate_p:g}; at least {least} are needed"
            )


class CloudConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[cloud]` table."""

    ray: str = "local"
    """"local" starts a cluster, "auto" or HOST:PORT joins one on this host, "none" runs serially in
    process."""
    workers: int = 2
    """Rollout workers."""
    object_store_mb: int = 150
    """Cap of Ray's object store for a local cluster."""
    niceness: int = 10
    """Cloud work yields to control loops on a shared machine."""
    hardware: str = "cloud-gpu"
    """The cloud's share of a server: a shipped profile's name, or a file relative to this one."""
    dedicated: bool = False
    """Whether this computer is there for this stack alone: then its power at rest counts, too."""
    idle_w: float | None = None
    """That share at rest; by its hardware's profile if not said."""
    busy_w: float | None = None
    """That share while it trains; by its hardware's profile if not said."""

    def __post_init__(self) -> None:
        if self.ray not in ("local", "auto", "none"):
            _check_cluster(self.ray)
        workers = 1 <= self.workers <= WORKERS_MAX
        if not workers or self.object_store_mb < 80 or not 0 <= self.niceness <= 19:
            raise ValueError(
                f"1 <= workers <= {WORKERS_MAX}, object_store_mb >= 80 and 0 <= niceness <= 19 "
                "are needed"
            )


def _check_cluster(address: str) -> None:
    """Ray's peers run whatever they send one another, so without keys they are on this host."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"unknown ray {address!r}; choose local, auto, none or HOST:PORT")
    try:
        loopback = host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"ray {address!r}: only a cluster on loopback is joined without keys")
