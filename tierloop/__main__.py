"""The command `tierloop`."""

import signal
import sys

PYTHON = (3, 11)
STOPPED = 130


def main() -> int:
    """Runs the command line and returns its exit code; refuses any Python but 3.11."""
    if sys.version_info[:2] != PYTHON:
        have = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(f"tierloop: needs Python 3.11, this is Python {have}\n")
        return 2
    asked = []

    def stop(*_: object) -> None:
        asked.append(True)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, stop)
        from tierloop.cli import main as run

        if asked:  # what is raised in the midst of an import may be swallowed there
            return STOPPED
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return STOPPED


if __name__ == "__main__":
    sys.exit(main())
