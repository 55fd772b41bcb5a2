import msgspec
import numpy as np
import pytest
from plant import POLICY, SPEC, Plant

from tierloop.contract.clock import ManualClock, WallClock, period_ns
from tierloop.contract.errors import SpecError
from tierloop.contract.specs import ArraySpec
from tierloop.contract.suite import BodySuite


class TestPlant(BodySuite):
    def make(self) -> Plant:
        return Plant()


def test_a_spec_names_the_field_and_both_shapes():
    spec = POLICY.observation
    spec.validate(spec.sample(np.random.default_rng(0)))
    spec.validate(np.zeros((3, 4), np.float32), rows=3)
    with pytest.raises(SpecError, match=r"observation: expected float32\[4\], got float32\[5\]"):
        spec.validate(np.zeros(5, np.float32))
    with pytest.raises(SpecError, match=r"got float64\[4\]"):
        spec.validate(np.zeros(4))
    with pytest.raises(SpecError, match=r"observation.goal_a_rad: not finite"):
        spec.validate(np.array([0, 0, np.nan, 0], np.float32))


@pytest.mark.parametrize(
    ("labels", "low", "high"),
    [(("a",), (0.0,), (0.0,)), (("a", "b"), (0.0,), (1.0,)), ((), (), ())],
)
def test_an_incoherent_spec_cannot_be_made(labels, low, high):
    with pytest.raises(SpecError):
        ArraySpec(name="x", labels=labels, low=low, high=high)


def test_the_digest_changes_with_every_field():
    others = [
        msgspec.structs.replace(POLICY, **{field: value})
        for field, value in {
            "task": "other",
            "body": "other",
            "horizon": 4,
            "period_ns": 1,
            "observation": POLICY.action,
        }.items()
    ]
    assert len({POLICY.digest, *(o.digest for o in others)}) == 6
    assert POLICY.validity_ns == 400_000_000


def test_a_misfit_names_what_differs():
    POLICY.require(POLICY, "policy v1")
    wider = msgspec.structs.replace(POLICY, observation=POLICY.action)
    with pytest.raises(SpecError, match=r"v1: observation is float32\[3\], the body's is float32"):
        POLICY.require(wider, "v1")
    with pytest.raises(SpecError, match="v1: horizon differs from the body's: 4, not 8"):
        POLICY.require(msgspec.structs.replace(POLICY, horizon=4), "v1")
    renamed = msgspec.structs.replace(POLICY.action, labels=("x", "y", "z"))
    with pytest.raises(SpecError, match="v1: action differs"):
        POLICY.require(msgspec.structs.replace(POLICY, action=renamed), "v1")


def test_a_body_spec_is_coherent():
    with pytest.raises(SpecError, match=r"plant.torque_nm: 1 entries for 2 joints"):
        msgspec.structs.replace(SPEC, torque_nm=(1.0,))
    with pytest.raises(SpecError, match="no multiple of the physics step"):
        msgspec.structs.replace(SPEC, physics_period_ns=3_000_000)


def test_clocks():
    clock = ManualClock(5)
    assert clock.advance(3) == clock.now_ns() == 8
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    wall = WallClock()
    assert wall.now_ns() <= wall.now_ns()
    assert period_ns(240) == 4_166_667
