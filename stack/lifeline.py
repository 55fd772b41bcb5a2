"""The lifeline: a process stops when the one that started it is gone.

Who starts it keeps a pipe to its standard input open, and says nothing more through it.
"""

import os
import signal
import threading
import time

LIFELINE_GRACE_S = 3.0
"""After the supervisor's death a process has this long to stop before it is killed."""


def hold_lifeline() -> None:
    """Stops this process when standard input breaks; from then on a thread waits there."""
    threading.Thread(target=_watch_lifeline, name="lifeline", daemon=True).start()


def _watch_lifeline() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LIFELINE_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
