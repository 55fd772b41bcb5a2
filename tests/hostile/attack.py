"""A million hostile frames at every endpoint, and two thousand clients: does the stack stand?

    python tests/hostile/attack.py [--frames N] [--clients N] [--minutes M] [--seed N] [--keep DIR]

Four victims at once: a whole stack with two honest robots (a third robot's process is down, and
an attacker has its name); a cloud alone and an edge alone, whose clients are attackers under the
names of the deployment; devices alone, whose edge is an impostor. docs/attack.md says what is
judged and where the bounds come from. The same seed sends the same lies.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aftermath
import psutil
from verdict import Verdict
from victims import DEFAULT, Victim, plant, tcp

from tierloop.link.address import IPC
from tierloop.stack.config.deployment_file import LinksConfig

HONEST, GHOST = ("arm-0", "arm-1"), "ghost"
DOWN = '\n[[fault]]\nkind = "crash"\nat_s = 4.0\nfor_s = 100000.0\ntarget = "ghost"\n'
LOOK_S = 0.5
CALM_S = 5.0
"""After the storm: sessions that were shut out come back."""
FEW = 8
"""Clients where the number is not the point."""


class Front(NamedTuple):
    """One endpoint under attack; attackers.py says what the words mean."""

    name: str
    at: str
    kind: str
    role: str
    share: float
    """Of all frames."""
    clients: int = FEW
    insider: str = ""


class Attack:
    """One trial from start to verdict."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.victims: dict[str, Victim] = {}

    def start(self, clients: int) -> list[Front]:
        """Starts the victims; the fronts to attack them at."""
        whole = self._victim("whole", "run", (*HONEST, GHOST), tcp(), DOWN)
        cloud = self._victim("cloud", "cloud", HONEST)
        edge = self._victim("edge", "edge", HONEST)
        device = self._victim("device", "device", HONEST)
        tiers = ("edge", "cloud")
        for name, awaited in {"whole": (*HONEST, *tiers), "cloud": tiers[1:], "edge": tiers[:1],
                              "device": HONEST}.items():  # fmt: skip
            self.victims[name].until_heard(awaited)
        few, many = clients // 2, clients - clients // 2
        return [
            Front("whole.edge", whole.device_edge, "clients", "device", 0.28, many, GHOST),
            Front("whole.cloud", whole.edge_cloud, "clients", "edge", 0.25, few),
            Front("cloud", cloud.edge_cloud, "clients", "edge", 0.12, insider="edge"),
            Front("edge", edge.device_edge, "clients", "device", 0.08, insider=HONEST[0]),
            Front("edge, from above", edge.edge_cloud, "server", "cloud", 0.08),
            Front("device, from above", device.device_edge, "server", "edge", 0.17),
            Front("roof", self._sink(), "pushers", "device", 0.02),
        ]

    def _victim(
        self, name: str, command: str, robots: tuple[str, ...], links: LinksConfig = DEFAULT,
        faults: str = "",
    ) -> LinksConfig:  # fmt: skip
        """Starts a victim; its addresses."""
        file = plant(self.folder, name, robots, self.seed, links=links, faults=faults)
        self.victims[name] = Victim(command, file, self.folder / name)
        return links.placed(self.folder / name)

    def _sink(self) -> str:
        """Where the whole stack's supervisor takes reports."""
        own = psutil.Process(self.victims["whole"].process.pid)
        bound = {c.laddr for c in own.net_connections("unix") if str(c.laddr).endswith("roof.sock")}
        return f"{IPC}{bound.pop()}"

    def storm(self, fronts: list[Front], frames: int, minutes: float) -> list[dict[str, int]]:
        """Lets the attackers loose until they are done or the time is over; what they did."""
        shares = sum(front.share for front in fronts)
        plan = {
            "seed": self.seed, "core": max(os.sched_getaffinity(0)), "until_s": 60 * minutes,
            "names": (*HONEST, GHOST, "edge", "cloud"),
            "fronts": [f._asdict() | {"frames": -int(-frames * f.share // shares)} for f in fronts],
        }  # fmt: skip
        with (self.folder / "attackers.out").open("w+b") as out:
            attackers = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("attackers.py"))],
                stdin=subprocess.PIPE, stdout=out, start_new_session=True,
            )  # fmt: skip
            try:
                assert attackers.stdin is not None
                attackers.stdin.write(json.dumps(plan).encode())
                attackers.stdin.close()
                while attackers.poll() is None and self._stand():
                    self._look()
                    time.sleep(LOOK_S)
            finally:
                attackers.terminate()
                attackers.wait()
            out.seek(0)
            return list(json.loads(out.read() or b"[]"))

    def _stand(self) -> bool:
        return all(victim.process.poll() is None for victim in self.victims.values())

    def _look(self) -> None:
        now_s = time.monotonic()
        for victim in self.victims.values():
            victim.look(now_s)

    def judge(self, fronts: list[Front], told: list[dict[str, int]], frames: int) -> Verdict:
        """Ends the victims and judges what they did and left."""
        verdict = Verdict()
        time.sleep(CALM_S)
        self._look()
        for front, counts in zip(fronts, told, strict=False):
            verdict.note(
                f"to {front.name}",
                f"{counts['sent']} (link full {counts['full']}, broken off {counts['broken']}, "
                f"answers read {counts['heard']})",
            )
        verdict.at_least("hostile frames", sum(counts["sent"] for counts in told), frames)
        codes = {name: victim.interrupt() for name, victim in self.victims.items()}
        for name, victim in self.victims.items():
            aftermath.processes(verdict, name, victim, codes[name], GHOST)
        aftermath.honest(verdict, self.victims["whole"], GHOST)
        return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=12.0, help="the attackers stop then")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the record")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack-") as text:
        attack = Attack(options.keep or Path(text), options.seed)
        try:
            fronts = attack.start(options.clients)
            told = attack.storm(fronts, options.frames, options.minutes)
            verdict = attack.judge(fronts, told, options.frames)
        finally:
            for victim in attack.victims.values():
                victim.close()
    print(verdict.text())
    print(f"seed {options.seed}: {'broken' if verdict.code else 'all held'}")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
