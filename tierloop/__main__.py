"""The command `tierloop`."""

import sys

PYTHON = (3, 11)


def main() -> int:
    """Runs the command line and returns its exit code; refuses any Python but 3.11."""
    if sys.version_info[:2] != PYTHON:
        have = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(f"tierloop: needs Python 3.11, this is Python {have}\n")
        return 2
    try:
        from tierloop.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
