"""One edge as a process of its own: python edge_process.py BIND CLOUD STATE REPORTS."""

import sys
from pathlib import Path

from plant import POLICY

from tierloop.edge.config import EdgeConfig
from tierloop.edge.main import run

if __name__ == "__main__":
    bind, cloud, state, reports = sys.argv[1:]
    sys.exit(
        run(
            config=EdgeConfig(),
            spec=POLICY,
            robots=None,
            bind=bind,
            cloud=cloud,
            state=Path(state),
            report_to=reports or None,
            software="test",
        )
    )
