"""What a run makes of reports, without starting anything."""

import signal

import numpy as np
import pytest

from tierloop.contract.errors import UserError
from tierloop.contract.ledger import LEDGER
from tierloop.contract.messages import Report
from tierloop.stack.config.deployment import resolve
from tierloop.stack.config.deployment_file import DeploymentFile
from tierloop.stack.wall.run import Run

COLUMNS = len(LEDGER)


class Unseen:
    def show(self, status) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def run(tmp_path):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    run = Run(resolve(DeploymentFile(name="cell")), ("device",), tmp_path / "run", Unseen())
    yield run
    run._ends.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def report(process="arm-0", role="device", columns=COLUMNS) -> Report:
    return Report(
        process=process, role=role, boot=1, at_ns=1, counters={}, gauges={}, labels={},
        decisions=np.zeros((1, columns), np.int64), lateness_ns=np.zeros(0, np.int64),
        outcomes=(), events=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "foreign",
    [
        {"process": "../../../out"},
        {"process": "no/such/folder"},
        {"process": "edge", "role": "edge"},
        {"role": "edge"},
        {"columns": 2},
    ],
)
def test_a_report_that_no_process_of_the_table_sent_is_counted_and_left(run, tmp_path, foreign):
    run._hear(report(**foreign))
    run._hear(report())
    run._report()
    kept = sorted(p.name for p in (tmp_path / "run" / "parts").iterdir())
    assert kept == ["arm-0.reports", "roof-device.reports"]
    assert run._record.counters("roof")["malformed"] == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another --out"):
        Run(resolve(DeploymentFile(name="cell")), ("device",), tmp_path / "file" / "run", Unseen())
