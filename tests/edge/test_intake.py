from edge_bench import seal, sealed, segment

from tierloop.edge.intake import Intake
from tierloop.edge.outbox import Outbox


def test_what_goes_by_anothers_name_acknowledges_nothing(tmp_path):
    intake = Intake(Outbox(tmp_path / "outbox.sqlite", 10**6))
    done = intake.take([sealed(0), seal(segment(3), seq=1)])
    assert done.counts["refused.wrong_name"] == 1
    assert [(a.below, a.also) for a in done.acks] == [(1, ())]
