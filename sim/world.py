"""One physics world: the only door to pybullet. Bodies are known by name."""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

Triple = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

GRAVITY_M_S2 = 9.81
_UPRIGHT: Quaternion = (0.0, 0.0, 0.0, 1.0)


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps everything from the terminal, also what C code prints. Affects the whole process.

    The C library's own buffer is flushed on both sides, so that nothing appears later.
    """
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    sys.stderr.flush()
    flush(None)
    kept = [(fd, os.dup(fd)) for fd in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd, _ in kept:
            os.dup2(nowhere, fd)
        yield
    finally:
        flush(None)
        for fd, copy in kept:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(nowhere)


with _silence():
    import pybullet as _bullet
    import pybullet_data as _data


class JointStates(NamedTuple):
    """What joints measure, a number each (rad, rad/s, Nm as applied in the last step)."""

    position: tuple[float, ...]
    velocity: tuple[float, ...]
    torque: tuple[float, ...]


class World:
    """One physics world; a process may have several. Metres, seconds, kilograms.

    Fixed step; the same calls in the same order give the same bits. Not thread-safe.
    """

    def __init__(self, step_s: float) -> None:
        with _silence():
            self._client = _bullet.connect(_bullet.DIRECT)
        self._ids: dict[str, int] = {}
        _bullet.setPhysicsEngineParameter(
            fixedTimeStep=step_s,
            numSubSteps=0,
            deterministicOverlappingPairs=1,
            physicsClientId=self._client,
        )
        _bullet.setGravity(0, 0, -GRAVITY_M_S2, physicsClientId=self._client)

    def close(self) -> None:
        """Ends the world; closing twice is fine."""
        if self._client >= 0:
            _bullet.disconnect(physicsClientId=self._client)
            self._client = -1

    def step(self) -> None:
        """One physics step."""
        _bullet.stepSimulation(physicsClientId=self._client)

    def checkpoint(self) -> int:
        """Saves the state of all bodies for `rewind`, which needs exactly these bodies."""
        return int(_bullet.saveState(physicsClientId=self._client))

    def rewind(self, checkpoint: int) -> None:
        """Restores a checkpoint, exact to the bit."""
        _bullet.restoreState(stateId=checkpoint, physicsClientId=self._client)

    def load(self, name: str, urdf: str) -> None:
        """Loads a body from pybullet_data, fixed at the origin, without its visual shapes."""
        with _silence():
            self._ids[name] = _bullet.loadURDF(
                os.path.join(_data.getDataPath(), urdf),
                useFixedBase=True,
                flags=_bullet.URDF_IGNORE_VISUAL_SHAPES,
                physicsClientId=self._client,
            )

    def add_box(
        self, name: str, half_m: Triple, at_m: Triple, mass_kg: float = 0.0, friction: float = 0.5
    ) -> None:
        """Adds a box with these half sides; a box without mass does not move."""
        shape = _bullet.createCollisionShape(
            _bullet.GEOM_BOX, halfExtents=half_m, physicsClientId=self._client
        )
        self._add(name, shape, at_m, mass_kg, friction)

    def add_cylinder(
        self,
        name: str,
        radius_m: float,
        height_m: float,
        at_m: Triple,
        mass_kg: float,
        friction: float,
    ) -> None:
        """Adds an upright cylinder; `at_m` is its centre."""
        shape = _bullet.createCollisionShape(
            _bullet.GEOM_CYLINDER, radius=radius_m, height=height_m, physicsClientId=self._client
        )
        self._add(name, shape, at_m, mass_kg, friction)

    def _add(self, name: str, shape: int, at_m: Triple, mass_kg: float, friction: float) -> None:
        body = _bullet.createMultiBody(mass_kg, shape, -1, at_m, physicsClientId=self._client)
        _bullet.changeDynamics(
            body,
            -1,
            lateralFriction=friction,
            rollingFriction=1e-3,
            spinningFriction=1e-3,
            physicsClientId=self._client,
        )
        self._ids[name] = body

    def remove(self, name: str) -> None:
        """Removes a body. Raises KeyError if there is none of that name."""
        _bullet.removeBody(self._ids.pop(name), physicsClientId=self._client)

    def position(self, name: str) -> Triple:
        """The position of a body's centre, world frame, m."""
        at: Triple = _bullet.getBasePositionAndOrientation(
            self._ids[name], physicsClientId=self._client
        )[0]
        return at

    def pose(self, name: str) -> tuple[Triple, Quaternion]:
        """Position (m) and orientation (x, y, z, w) of a body's centre, world frame."""
        at: tuple[Triple, Quaternion] = _bullet.getBasePositionAndOrientation(
            self._ids[name], physicsClientId=self._client
        )
        return at

    def velocity(self, name: str) -> Triple:
        """A body's linear velocity, m/s."""
        linear: Triple = _bullet.getBaseVelocity(self._ids[name], physicsClientId=self._client)[0]
        return linear

    def carry(self, name: str, at_m: Triple, velocity_m_s: Triple) -> None:
        """Sets position and velocity. A fixed box so set before each step acts as a belt."""
        body, client = self._ids[name], self._client
        _bullet.resetBasePositionAndOrientation(body, at_m, _UPRIGHT, physicsClientId=client)
        _bullet.resetBaseVelocity(body, velocity_m_s, physicsClientId=client)

    def place_joints(self, name: str, joints: Sequence[int], position: Sequence[float]) -> None:
        """Sets joint positions (rad) at once, at rest, without physics."""
        for joint, value in zip(joints, position, strict=True):
            _bullet.resetJointState(self._ids[name], joint, value, physicsClientId=self._client)

    def turn_joints(
        self,
        name: str,
        joints: Sequence[int],
        velocity_rad_s: Sequence[float],
        torque_nm: Sequence[float],
    ) -> None:
        """Turns joints at these speeds from the next step on, each within a torque.

        A joint gets to its speed at once, if the torque lets it, and keeps it whatever the load.
        """
        _bullet.setJointMotorControlArray(
            self._ids[name],
            joints,
            _bullet.VELOCITY_CONTROL,
            targetVelocities=velocity_rad_s,
            forces=torque_nm,
            physicsClientId=self._client,
        )

    def hold_joints(
        self, name: str, joints: Sequence[int], position: Sequence[float], force: Sequence[float]
    ) -> None:
        """Holds joints at these positions from now on, each within a force."""
        _bullet.setJointMotorControlArray(
            self._ids[name],
            joints,
            _bullet.POSITION_CONTROL,
            targetPositions=position,
            forces=force,
            physicsClientId=self._client,
        )

    def joints(self, name: str, joints: Sequence[int]) -> JointStates:
        """Position, velocity and torque of these joints now."""
        states = _bullet.getJointStates(self._ids[name], joints, physicsClientId=self._client)
        position, velocity, _, torque = zip(*states, strict=True)
        return JointStates(position, velocity, torque)

    def link_pose(self, name: str, link: int) -> tuple[Triple, Quaternion]:
        """Position (m) and orientation (x, y, z, w) of a link's frame now, world frame."""
        state = _bullet.getLinkState(
            self._ids[name], link, computeForwardKinematics=1, physicsClientId=self._client
        )
        return state[4], state[5]

    def attach(self, name: str, link: int, other: str, at_m: Triple, force_n: float) -> int:
        """Ties `other` to a link as the two stand, at the point `at_m`; returns the tie's number.

        The tie gives way beyond `force_n`.
        """
        client = self._client
        # A constraint counts from the centre of mass of a link, not from its frame.
        hand, hand_turn = _bullet.getLinkState(
            self._ids[name], link, computeForwardKinematics=1, physicsClientId=client
        )[:2]
        centre, turn = _bullet.getBasePositionAndOrientation(
            self._ids[other], physicsClientId=client
        )
        parent = _bullet.multiplyTransforms(
            *_bullet.invertTransform(hand, hand_turn), at_m, hand_turn
        )
        child = _bullet.multiplyTransforms(*_bullet.invertTransform(centre, turn), at_m, hand_turn)
        tie: int = _bullet.createConstraint(
            self._ids[name],
            link,
            self._ids[other],
            -1,
            _bullet.JOINT_FIXED,
            (0, 0, 0),
            parent[0],
            child[0],
            parentFrameOrientation=parent[1],
            childFrameOrientation=child[1],
            physicsClientId=client,
        )
        _bullet.changeConstraint(tie, maxForce=force_n, physicsClientId=client)
        return tie

    def detach(self, tie: int) -> None:
        """Removes the tie with this number."""
        _bullet.removeConstraint(tie, physicsClientId=self._client)
