import msgspec
import numpy as np
import pytest
from edge_bench import hello, outcome, seal, sealed, segment

from tierloop.contract.errors import WireError
from tierloop.edge.triage import UNSURE_RAD, Priority, Triage


@pytest.mark.parametrize(
    ("changes", "priority"),
    [
        ({}, Priority.ROUTINE),
        ({"outcomes": (outcome(True),)}, Priority.ROUTINE),
        ({"seam_rad": UNSURE_RAD}, Priority.ROUTINE),
        ({"seam_rad": UNSURE_RAD * 1.01}, Priority.UNSURE),
        ({"refused": {"expired": 0}}, Priority.ROUTINE),
        ({"refused": {"premise": 9}}, Priority.ROUTINE),
        ({"refused": {"premise": 9, "expired": 1}}, Priority.REFUSED),
        ({"refused": {"expired": 1}, "seam_rad": 1.0}, Priority.REFUSED),
        ({"outcomes": (outcome(True), outcome(False)), "refused": {"x": 1}}, Priority.FAILED),
    ],
)
def test_what_teaches_most_weighs_most(changes, priority):
    assert Triage().weigh(sealed(0, **changes)) is priority


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (seal(segment(3), seq=4), "wrong_name"),
        (seal(segment(3), device="other"), "wrong_name"),
        (seal(hello()), "not_a_segment"),
        (msgspec.structs.replace(sealed(0), body=np.zeros(8, np.uint8)), "damaged"),
        (msgspec.structs.replace(sealed(0), body=sealed(0).body[:-1]), "damaged"),
        (msgspec.structs.replace(sealed(0), body=np.zeros(0, np.uint8)), "empty"),
    ],
)
def test_what_is_no_segment_says_why(message, reason):
    with pytest.raises(WireError) as caught:
        Triage().weigh(message)
    assert caught.value.reason == reason
