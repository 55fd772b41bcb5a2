"""The command `tierloop`."""

import signal
import sys

from tierloop import screen

OLDEST, NEWEST = (3, 11), (3, 13)
"""Of Python, as in pyproject.toml."""
STOPPED = 130


def main() -> int:
    """Runs the command line and returns its exit code; refuses a Python it was not tried with."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        oldest, newest, have = (
            f"{major}.{minor}" for major, minor, *_ in (OLDEST, NEWEST, sys.version_info)
        )
        sys.stderr.write(f"tierloop: needs Python {oldest} to {newest}, this is Python {have}\n")
        return 2
    asked = []

    def stop(*_: object) -> None:
        asked.append(True)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, stop)
        if sys.stdout is sys.__stdout__:
            screen.install()
        from tierloop.cli import main as run

        if asked:  # what is raised in the midst of an import may be swallowed there
            return STOPPED
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return STOPPED


if __name__ == "__main__":
    sys.exit(main())
