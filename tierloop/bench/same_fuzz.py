"""Runs one fuzz seed of the checkout that PYTHONPATH names, and writes what came of it:

    PYTHONPATH=CHECKOUT python -P same_fuzz.py OUT SEED

The checkout may be older than this script, so the script knows where the fuzzer has been.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

SESSIONS = ("tierloop.fuzz.session", "tierloop.fuzz.conduct")
"""The module that has `fuzz(seed, mode, plant)`: today, and before 2026-11-29."""


def main(out: Path, seed: int) -> None:
    fuzz = import_module(next(name for name in SESSIONS if find_spec(name))).fuzz
    outcome = msgspec.to_builtins(fuzz(seed, "both", "analytic"))
    outcome["trace_sha256"] = outcome.pop("trace")
    out.mkdir()
    (out / "summary.json").write_bytes(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
