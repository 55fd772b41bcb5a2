"""The arm's torques and joules against another dynamics library, Pinocchio, on the same motion.

Pinocchio gets Bullet's masses and inertias, the part at the cup as a point mass, and the motion of
a sorting arm at each step of physics. Its inverse dynamics say what torque that takes, except
while the part at the cup is pressed on the belt or a bin, whose forces it does not know.
"""

from typing import NamedTuple

import numpy as np
import pybullet
import pytest
from pybullet_data import getDataPath

from tierloop.device.config import DeviceConfig
from tierloop.device.unlinked import Unlinked
from tierloop.sim import catalogue
from tierloop.sim.cell import Cell
from tierloop.sim.embody import embody
from tierloop.sim.scenario import Scenario, policy_spec

SECONDS = 20
STILL = np.zeros(2)
"""The fingers."""


@pytest.fixture(scope="module")
def pin():
    return pytest.importorskip("pinocchio")


class Moment(NamedTuple):
    """A step of physics: posture and velocity at its begin, velocity at its end, torque in it."""

    position: np.ndarray
    before: np.ndarray
    after: np.ndarray
    torque: np.ndarray
    part_kg: float
    part_m: tuple[float, float, float]
    pressed: bool


class Noting(Cell):
    """A cell that notes what the physics did."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(scenario, seed)
        self.moments: list[Moment] = []

    def _step(self, now_ns: int) -> None:
        was, held, kg, at = self._joints, self._suction.holding, 0.0, (0.0, 0.0, 0.0)
        if held:
            client = {"physicsClientId": self._world._client}
            at, body = self._world.position(held), self._world._ids[held]
            kg = pybullet.getDynamicsInfo(body, -1, **client)[0]
        super()._step(now_ns)
        joints, pressed = self._joints, held and pybullet.getContactPoints(body, **client)
        self.moments.append(
            Moment(
                *map(np.array, (was.position, was.velocity, joints.velocity, joints.torque)),
                kg,
                at,
                bool(pressed),
            )
        )


def sort(hz: int) -> tuple[list[Moment], Unlinked, Noting]:
    scenario = Scenario(physics_hz=hz)
    cell = Noting(scenario, 1)
    device = Unlinked("arm", 1, embody(scenario, 1)._replace(body=cell), DeviceConfig(), "test")
    teach, asked = catalogue.expert(policy_spec(scenario)), None
    judged = []
    for tick in range(SECONDS * scenario.control_hz):
        now_ns = tick * cell.spec.control_period_ns
        if asked is not None:
            device.answer(now_ns, asked, teach(asked.features[np.newaxis])[0])
        asked = device.tick(now_ns)
        judged += device.reading.outcomes
    assert sum(episode.success for episode in judged) >= 5
    return cell.moments, device, cell


def model(pin):
    """The URDF's tree with what Bullet makes of its masses and inertias."""
    urdf, client = f"{getDataPath()}/franka_panda/panda.urdf", pybullet.connect(pybullet.DIRECT)
    flags = pybullet.URDF_IGNORE_VISUAL_SHAPES
    arm = pybullet.loadURDF(urdf, useFixedBase=True, flags=flags, physicsClientId=client)
    built = pin.buildModelFromUrdf(urdf)
    for joint in range(built.njoints):
        built.inertias[joint] = pin.Inertia.Zero()
    for link in range(pybullet.getNumJoints(arm, physicsClientId=client)):
        name = pybullet.getJointInfo(arm, link, physicsClientId=client)[12].decode()
        told = pybullet.getDynamicsInfo(arm, link, physicsClientId=client)
        turn = np.reshape(pybullet.getMatrixFromQuaternion(told[4]), (3, 3))
        own = pin.Inertia(told[0], np.array(told[3]), turn @ np.diag(told[2]) @ turn.T)
        frame = built.frames[built.getFrameId(name, pin.BODY)]
        built.inertias[frame.parentJoint] += frame.placement.act(own)
    pybullet.disconnect(client)
    return built


def torques(pin, moments: list[Moment], step_s: float) -> np.ndarray:
    """float64[steps, 7], by inverse dynamics."""
    built = model(pin)
    data, hand = built.createData(), built.inertias[7].copy()
    found = []
    for moment in moments:
        q = np.append(moment.position, STILL)
        built.inertias[7] = hand
        if moment.part_kg:
            pin.forwardKinematics(built, data, q)
            at = data.oMi[7].actInv(np.array(moment.part_m))
            built.inertias[7] = hand + pin.Inertia(moment.part_kg, at, np.zeros((3, 3)))
        faster = np.append((moment.after - moment.before) / step_s, STILL)
        found.append(pin.rnea(built, data, q, np.append(moment.before, STILL), faster)[:7])
    return np.array(found)


def bus_joules(cell: Noting, torque: np.ndarray, velocity: np.ndarray, steps: int) -> float:
    """What the drives' bus takes beside their constant power; told by the formula alone."""
    spec = cell.spec
    watts = (
        torque * velocity
        + np.array(spec.copper_w_per_nm2) * torque**2
        + np.array(spec.viscous_w_s2) * velocity**2
        + np.array(spec.coulomb_w_s) * abs(velocity)
    )
    by_tick = watts[: len(watts) // steps * steps].reshape(-1, steps, watts.shape[1]).mean(1)
    shared = np.where(by_tick < 0, spec.bus_share * by_tick, by_tick).sum(1)
    constant_w = len(spec.joints) * spec.drive_w
    drawn = np.maximum(shared + constant_w, 0.0) - constant_w
    return float(drawn.sum() * spec.control_period_ns * 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("hz", [240, 960])
def test_another_dynamics_library_finds_the_same_torques_and_joules(pin, hz):
    moments, device, cell = sort(hz)
    told = np.array([moment.torque for moment in moments])
    found = torques(pin, moments, cell.spec.physics_period_ns * 1e-9)
    pressed = np.array([moment.pressed for moment in moments])
    assert pressed.mean() < 0.1
    found[pressed] = told[pressed]
    apart = np.sqrt(((told - found) ** 2).mean(0) / (found**2).mean(0))
    before, after = (np.array([getattr(m, f) for m in moments]) for f in ("before", "after"))
    joules = bus_joules(cell, found, (before + after) / 2, hz // 240)
    causes = device.node.meter.causes
    metered = sum(causes[cause] for cause in ("motion", "copper", "viscous", "coulomb"))
    off = abs(metered / joules - 1)
    print(f"{hz} Hz: torque {apart.max():.2%} apart at most, {joules:.1f} J {off:.2%} apart")
    assert apart.max() < 0.05
    assert metered == pytest.approx(joules, rel=0.05)
    assert joules > 100.0
