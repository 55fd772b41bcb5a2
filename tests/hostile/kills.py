"""Two hundred kill -9 at random instants, over all roles and the roof, an audit after each run.

    python tests/hostile/kills.py [--kills N] [--minutes M] [--seed N] [--keep DIR]

A play is one run of a real stack in which ten times somebody dies, sometimes several at once;
every second play ends with the roof's own death, the others with Ctrl-C. Segments hold two
decisions, so that something is always under way. The instants are drawn from the seed; what the
machine does at them is not.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from books import LOSSES, Books, inspect
from verdict import Verdict
from victims import ROOF, Victim, plant

ROBOTS = ("arm-0", "arm-1")
ROLES = (*ROBOTS, "edge", "cloud")
A_PLAY = 10
"""Kills in one play, the roof's included."""
CALM_S = 8.0
"""What a stack gets to find together again before a play ends with Ctrl-C: the longest pause before
a restart, a start, and a session."""
PLACES = ("stored", "refused", "waiting", "waiting_device", "shed", "lost", "missing")
"""Where a segment that was produced may be; `missing` is judged by itself."""
UNACCOUNTED = "segments unaccounted for"
ORPHANS_S = 5.0
"""How long children may outlive their roof: the lifeline's grace, and a busy machine."""


class Play:
    """One run and its kills."""

    def __init__(self, folder: Path, seed: int, number: int, kills: int) -> None:
        self.rng = random.Random(f"{seed}/{number}")
        self.number, self.kills, self.struck = number, kills, 0
        self.roof_dies = number % 2 == 1
        self.by_name: dict[str, int] = {}
        name = f"play-{number}"
        file = plant(folder, name, ROBOTS, seed + number, decisions=2)
        self.victim = Victim("run", file, folder / name)

    def run(self) -> None:
        """Kills until all have been struck, then ends the run."""
        victim, rng = self.victim, self.rng
        victim.until_heard(ROLES)
        while self.struck < self.kills - self.roof_dies:
            time.sleep(rng.uniform(0.05, 2.5))
            many = rng.choices((1, 2, len(ROLES)), (0.75, 0.2, 0.05))[0]
            for name in rng.sample(ROLES, min(many, self.kills - self.roof_dies - self.struck)):
                self._kill(name)
            if victim.process.poll() is not None:
                return
        if self.roof_dies:
            time.sleep(rng.uniform(0.05, 2.5))
            victim.members()
            victim.process.kill()
            victim.process.wait()
            self._count(ROOF)
        else:
            time.sleep(CALM_S)
            victim.members()
            victim.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                victim.process.wait(60)

    def _kill(self, name: str) -> None:
        pid = self.victim.members().get(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._count(name)

    def _count(self, name: str) -> None:
        self.struck += 1
        self.by_name[name] = self.by_name.get(name, 0) + 1


def report(out: Path) -> tuple[int, dict[str, int], str]:
    """`tierloop report` on a record: exit code, invariants that are not 0, what it said last."""
    done = subprocess.run(
        [sys.executable, "-m", "tierloop", "report", str(out)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    with contextlib.suppress(OSError, msgspec.MsgspecError, KeyError):
        summary = msgspec.json.decode((out / "summary.json").read_bytes())
        broken = {name: n for name, n in summary["invariants"].items() if n}
        broken |= unaccounted(summary["experience"])
        return done.returncode, broken, ""
    return done.returncode, {"no_summary": 1}, (done.stdout + done.stderr)[-500:]


def unaccounted(experience: dict[str, int]) -> dict[str, int]:
    """Segments that the books of a summary know nothing of, if there are any."""
    known = sum(experience[place] for place in PLACES)
    return (
        {UNACCOUNTED: abs(experience["produced"] - known)}
        if experience["produced"] != known
        else {}
    )


class Toll:
    """What all plays together have cost."""

    def __init__(self) -> None:
        self.kills: dict[str, int] = {}
        self.plays = self.orphans = self.ended = self.failed = 0
        self.broken: dict[str, int] = {}
        self.books = Books()

    def take(self, play: Play) -> str:
        """Judges a play that is over; what was wrong with it, in words."""
        self.plays += 1
        for name, n in play.by_name.items():
            self.kills[name] = self.kills.get(name, 0) + n
        orphans = play.victim.orphans(ORPHANS_S)
        code = play.victim.process.returncode
        ended = code != (-signal.SIGKILL if play.roof_dies else 0)
        play.victim.close()
        told, broken, said = report(play.victim.out)
        if play.roof_dies:  # nobody could say goodbye: the end is not one of the run's own
            broken = {name: n for name, n in broken.items() if name in (*LOSSES, UNACCOUNTED)}
        books = inspect(play.victim.out)
        self.orphans += len(orphans)
        self.ended += ended
        self.failed += told not in (0, 1)
        for name, n in broken.items():
            self.broken[name] = self.broken.get(name, 0) + n
        self.books += books
        words = [f"exit {code}"] * ended + [f"{len(orphans)} orphans"] * bool(orphans)
        words += [f"report: exit {told} {said}"] * (told not in (0, 1))
        words += [f"{name} {n}" for name, n in broken.items()]
        words += [f"{name} {n}" for name, n in books.wrong.items() if n]
        return ", ".join(words)

    def verdict(self, kills: int) -> Verdict:
        verdict, books = Verdict(), self.books
        told = ", ".join(f"{name} {n}" for name, n in sorted(self.kills.items()))
        verdict.at_least("kill -9", sum(self.kills.values()), kills)
        verdict.note("  of which", told)
        verdict.note("runs, each with its audit", f"{self.plays}")
        verdict.none("runs that ended otherwise than told", self.ended)
        verdict.none("processes left", self.orphans)
        verdict.none("reports that could not be made", self.failed)
        for name in sorted({*LOSSES, UNACCOUNTED, *self.broken}):
            verdict.none(f"run: {name}", self.broken.get(name, 0))
        for name, n in books.wrong.items():
            verdict.none(f"own audit: {name}", n)
        verdict.note(
            "segments stored, waiting, lives", f"{books.stored}, {books.waiting}, {books.lives}"
        )
        return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=20.0, help="no play begins after that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the records, which else are deleted"
    )
    options = parser.parse_args()
    toll, end_s, number = Toll(), time.monotonic() + 60 * options.minutes, 0
    with tempfile.TemporaryDirectory(prefix="kills-") as text:
        while (left := options.kills - sum(toll.kills.values())) > 0 and time.monotonic() < end_s:
            play = Play(options.keep or Path(text), options.seed, number, min(A_PLAY, left))
            try:
                play.run()
            finally:
                if play.victim.process.poll() is None:
                    play.victim.close()
            wrong = toll.take(play)
            print(f"play {number}: {play.struck} killed; {wrong or 'nothing lost'}", flush=True)
            number += 1
    verdict = toll.verdict(options.kills)
    print(verdict.text())
    print(f"seed {options.seed}: {'broken' if verdict.code else 'all held'}")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
