"""The command `tierloop`."""

import os
import signal
import sys

from tierloop.exit_codes import ExitCode

OLDEST, NEWEST = (3, 11), (3, 13)
"""Of Python, as in pyproject.toml."""
OTHERS_WRITE = 0o022
"""What no umask permits here: a record, its state and its sockets are their owner's to change."""


def main() -> int:
    """Runs the command line and returns its exit code; refuses a Python it was not tried with."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        oldest, newest, have = (
            f"{major}.{minor}" for major, minor, *_ in (OLDEST, NEWEST, sys.version_info)
        )
        sys.stderr.write(f"tierloop: needs Python {oldest} to {newest}, this is Python {have}\n")
        return ExitCode.WRONG_INPUT
    os.umask(os.umask(OTHERS_WRITE) | OTHERS_WRITE)
    if sys.getfilesystemencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        _again_in_utf8()
    asked = []

    def stop(*_: object) -> None:
        asked.append(True)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, stop)
        from tierloop.stack import screen

        if sys.stdout is sys.__stdout__:
            screen.install()
        from tierloop.cli.app import main as run

        if asked:  # what is raised in the midst of an import may be swallowed there
            return ExitCode.INTERRUPTED
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _again_in_utf8() -> None:
    """Runs this command anew with names and files in UTF-8, whatever the locale says.

    By an option, since -E and -I pass over the environment, which is for the children. What is
    printed stays in the terminal's encoding; what that lacks becomes a question mark.
    """
    said = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ.setdefault("PYTHONIOENCODING", f"{said}:replace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
