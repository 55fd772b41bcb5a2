"""The `[scenario]` table of a deployment file (robots, task, rates), and the specs it implies."""

from math import isfinite

import msgspec

from tierloop.contract.clock import period_ns
from tierloop.contract.specs import BodySpec, PolicySpec
from tierloop.contract.wording import unknown_choice
from tierloop.sim import catalogue

ROBOTS_MAX = 1000
PHYSICS_HZ_MAX, CONTROL_HZ_MAX = 10_000, 1_000
"""Beyond these no loop of this stack could keep its deadlines."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[scenario]` table. Raises ValueError if values do not fit together."""

    task: str = "sort"
    """What the robots are to do."""
    body: str = "panda"
    """What robots they are."""
    robots: tuple[str, ...] = ("arm-0", "arm-1")
    """Their names, one cell each."""
    physics_hz: int = 240
    """Steps of physics a second."""
    control_hz: int = 240
    """Ticks of the control loop a second; a tick is a whole number of physics steps."""
    decision_hz: int = 20
    """Decisions of the policy a second; a decision period is a whole number of ticks."""
    horizon: int = 8
    """Rows of an action chunk, one decision period apart."""
    belt_low_m_s: float = 0.05
    """The slowest the belt brings a part."""
    belt_high_m_s: float = 0.15
    """The fastest the belt brings a part."""
    belt_swing: float = 0.0
    """The share by which the speed of the belt swings, to and fro, about what it is for a part."""
    belt_swing_s: float = 4.0
    """How long a swing to and fro takes."""
    scan_hz: float = 15.0
    """Scans of the scanning station a second."""
    scan_noise_m: float = 0.002
    """Standard deviation of a scanned coordinate."""
    scan_dropout: float = 0.15
    """Chance that a scan misses the part."""
    scan_latency_ms: float = 30.0
    """From the capture of a scan to its arrival."""
    episode_s: float = 9.0
    """A part that is not sorted this long after it came on the belt counts as failed."""

    def __post_init__(self) -> None:
        for field, known in (("task", catalogue.TASKS), ("body", catalogue.BODIES)):
            value = getattr(self, field)
            if value not in known:
                raise ValueError(unknown_choice(field, value, known))
        fitting = catalogue.BODIES_OF[self.task]
        if self.body not in fitting:
            bodies = " or ".join(map(repr, fitting))
            raise ValueError(f"task {self.task!r} needs the body {bodies}")
        self._check_robots()
        self._check_numbers()
        self._check_rates()

    def _check_robots(self) -> None:
        if not self.robots or not all(self.robots):
            raise ValueError("robots must name at least one robot, and no name may be empty")
        if len(self.robots) > ROBOTS_MAX:
            raise ValueError(
                f"robots: {len(self.robots)} robots; an edge serves at most {ROBOTS_MAX}"
            )
        twice = [name for name in self.robots if self.robots.count(name) > 1]
        if twice:
            raise ValueError(f"robots: {twice[0]!r} is listed twice")

    def _check_numbers(self) -> None:
        for field in (
            "physics_hz", "control_hz", "decision_hz", "horizon",
            "belt_low_m_s", "belt_high_m_s", "belt_swing_s", "scan_hz", "episode_s",
        ):  # fmt: skip
            value = getattr(self, field)
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{field} must be positive, not {value}")
        for field in ("scan_noise_m", "scan_latency_ms"):
            value = getattr(self, field)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{field} must not be negative, not {value}")
        for field in ("scan_dropout", "belt_swing"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field} must lie in [0, 1), not {getattr(self, field)}")
        if self.belt_low_m_s > self.belt_high_m_s:
            raise ValueError(
                f"belt_low_m_s {self.belt_low_m_s} is above belt_high_m_s {self.belt_high_m_s}"
            )

    def _check_rates(self) -> None:
        for field, most in (
            ("physics_hz", PHYSICS_HZ_MAX), ("control_hz", CONTROL_HZ_MAX),
            ("scan_hz", PHYSICS_HZ_MAX),
        ):  # fmt: skip
            if getattr(self, field) > most:
                raise ValueError(f"{field} {getattr(self, field)} is above {most}")
        for slow, fast, words in (
            ("control_hz", "physics_hz", "a control period must be whole physics steps"),
            ("decision_hz", "control_hz", "a decision period must be whole control periods"),
        ):  # fmt: skip
            if getattr(self, fast) % getattr(self, slow):
                raise ValueError(
                    f"{slow} {getattr(self, slow)} does not divide {fast} "
                    f"{getattr(self, fast)}: {words}"
                )


def policy_spec(scenario: Scenario) -> PolicySpec:
    """The observation and action of a policy for this scenario. Does not load the simulator."""
    task, arm = catalogue.task_module(scenario.task), catalogue.body_module(scenario.body)
    body = body_spec(scenario)
    return PolicySpec(
        task=scenario.task,
        body=scenario.body,
        observation=task.observation_spec(body),
        action=task.action_spec(body, arm.WORK_LOW_RAD, arm.WORK_HIGH_RAD),
        horizon=scenario.horizon,
        period_ns=period_ns(scenario.decision_hz),
    )


def body_spec(scenario: Scenario) -> BodySpec:
    """Limits, periods and power model of the robots' body. Does not load the simulator."""
    step_ns = period_ns(scenario.physics_hz)
    steps = scenario.physics_hz // scenario.control_hz
    spec: BodySpec = catalogue.body_module(scenario.body).body_spec(steps * step_ns, step_ns)
    return spec
