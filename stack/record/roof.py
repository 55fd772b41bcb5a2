"""Makes the report of a supervisor: what became of its processes."""

from collections.abc import Iterable, Mapping

import numpy as np

from tierloop.contract.bounds import TEXT_MAX, cut
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Event, Report
from tierloop.stack.record.record import ROOF, Happening


def roof_report(
    process: str,
    boot: int,
    at_ns: int,
    happenings: Iterable[Happening],
    counters: Mapping[str, float],
    labels: Mapping[str, str],
) -> Report:
    """The report of the supervisor `process`, of which `Record.take` makes the happenings again.

    Events longer than TEXT_MAX are cut.
    """
    return Report(
        process=process,
        role=ROOF,
        boot=boot,
        at_ns=at_ns,
        counters=dict(counters),
        gauges={},
        labels=dict(labels),
        decisions=np.zeros((0, len(LEDGER)), np.int64),
        lateness_ns=np.zeros(0, np.int64),
        outcomes=(),
        events=tuple(
            Event(at_ns=h.at_ns, name=h.name, detail=cut(f"{h.process}: {h.detail}", TEXT_MAX))
            for h in happenings
        ),
    )
