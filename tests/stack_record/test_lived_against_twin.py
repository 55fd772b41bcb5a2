"""What the robots lived, beside what the gate had found in the twin."""

from tierloop.stack.record.summary import lived_against_twin


def version(number: int, episodes: int, successes: int, twin: float | None) -> dict:
    lived = {"version": number, "episodes": episodes, "successes": successes}
    return lived | {"twin_success_rate": twin}


def test_what_was_lived_stands_beside_what_the_twin_promised():
    versions = [
        version(0, 50, 0, None), version(1, 30, 15, 0.7), version(2, 10, 9, 1.0),
        version(3, 0, 0, 1.0),
    ]  # fmt: skip
    assert lived_against_twin(versions) == {
        "episodes": 40, "lived": 0.6, "twin": 0.775, "difference": -0.175,
    }  # fmt: skip
    assert lived_against_twin(versions[:1])["difference"] is None
