"""What a person sees of a run: a live picture on a terminal, plain lines anywhere else."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.stack.record.invariants import FAULTS
from tierloop.stack.record.record import Happening, Life, Record
from tierloop.stack.watch import Status, View

LINE_EVERY_S = 5.0
EVENTS_SHOWN = 8
AGAIN_NS = 10 * NS_PER_S
REMEMBERED_MAX = 4096
"""Different events that are remembered; after that they are told afresh."""
NEVER_CUT = FAULTS - {"restarted"} | {
    "left",
    "refused",
    "silence",
    "battery",
    "record_lacks",
    "poses_lacks",
    "engine_fault",
}
"""Events that are shown however many others there are, as are those of these endings."""
NEVER_CUT_ENDINGS = ("_refused", "_failed")
GAUGES = {
    "backlog": "backlog",
    "devices": "devices",
    "batch_mean": "batch",
    "waiting": "waiting",
    "outbox_rows": "outbox",
    "in_flight": "in flight",
}
"""Gauges shown beside a process, and the words for them."""


class Told(NamedTuple):
    """When an event was told last, and how many equal ones have come since."""

    at_ns: int
    since: int


NEVER = Told(-(2**63), 0)


def view(console: Console) -> View:
    """The view that suits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class Figures(NamedTuple):
    """Recent figures of all devices together; ages of action are nan where nothing acted."""

    age_p50_ms: float
    age_p99_ms: float
    ticks: int
    missed: int
    watts: float

    @property
    def missed_share(self) -> float:
        return self.missed / max(self.ticks + self.missed, 1)


def figures(record: Record) -> Figures:
    """The figures of the last RECENT seconds; ticks since the start."""
    newest = record.newest().values()
    recent_ns = [ages_ns for life in newest for ages_ns in life.recent_ns]
    ages = np.concatenate([*recent_ns, np.zeros(0, np.int64)]) / NS_PER_MS
    p50, p99 = np.percentile(ages, (50, 99)) if len(ages) else (np.nan, np.nan)
    counters = record.counters("device")
    return Figures(
        float(p50),
        float(p99),
        int(counters.get("ticks", 0)),
        int(counters.get("missed", 0)),
        sum(life.watts for life in newest),
    )


class PlainView:
    """One line every few seconds, and one an event: fit for a pipe or a log.

    Of equal events one is told in AGAIN_NS, with the number of those since. Faults are all told.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due_s = LINE_EVERY_S
        self._shown = 0
        self._told: dict[tuple[str, str, str], Told] = {}

    def show(self, status: Status) -> None:
        happenings = status.record.happenings
        fresh, self._shown = happenings[self._shown :], len(happenings)
        room, more = EVENTS_SHOWN, 0
        for happening, times in filter(None, map(self._fold, fresh)):
            room -= 1
            if room >= 0 or _grave(happening.name):
                count = f"  ({times} times)" if times > 1 else ""
                self._print(event_line(happening, status.start_ns) + count)
            else:
                more += 1
        if more:
            self._print(f"         … and {more} more events")
        if status.elapsed_s >= self._due_s:
            self._due_s = status.elapsed_s + LINE_EVERY_S
            self._print(line(status))

    def close(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Prints what still stands behind an event that was told, and forgets all of them."""
        for (process, name, detail), told in self._told.items():
            if told.since:
                self._print(_printable(f"  and {told.since} more: {process} {name}  {detail}"))
        self._told.clear()

    def _fold(self, happening: Happening) -> tuple[Happening, int] | None:
        """The event, and how many equal ones it stands for; None if another stands for it."""
        if happening.name in FAULTS:
            return happening, 1
        key = happening.process, happening.name, happening.detail
        told = self._told.get(key, NEVER)
        if happening.at_ns - told.at_ns < AGAIN_NS:
            self._told[key] = Told(told.at_ns, told.since + 1)
            return None
        if len(self._told) >= REMEMBERED_MAX:
            self._settle()
        self._told[key] = Told(happening.at_ns, 0)
        return happening, told.since + 1

    def _print(self, text: str) -> None:
        with contextlib.suppress(SystemExit):  # nobody reads any more: the run goes on unseen
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _grave(name: str) -> bool:
    return name in NEVER_CUT or name.endswith(NEVER_CUT_ENDINGS)


def event_line(happening: Happening, start_ns: int) -> str:
    """An event in one line; what cannot be printed, as from a stranger's name, is not."""
    at_s = (happening.at_ns - start_ns) / NS_PER_S
    text = f"{at_s:7.1f} s {happening.process:>7} {happening.name}  {happening.detail}".rstrip()
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def line(status: Status) -> str:
    """The run in one line."""
    now = figures(status.record)
    lived = [f"v{v.version} {v.successes}/{v.episodes}" for v in status.record.versions()[-3:]]
    if status.record.of("device"):
        said = (
            f"success {', '.join(lived) or 'none yet'}"
            f"  age p50 {_ms(now.age_p50_ms)} p99 {_ms(now.age_p99_ms)}"
            f"  missed {now.missed}/{now.ticks + now.missed}"
        )
    else:
        lives = status.record.newest()
        said = "  ".join(f"{name}: {_gauges(lives.get(name))}" for name in status.states)
    return f"{status.elapsed_s:7.1f} s {status.phase}  {said}  {now.watts:.0f} W (model)"


class LiveView:
    """A picture redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, status: Status) -> None:
        self._live.update(picture(status))

    def close(self) -> None:
        self._live.stop()


def picture(status: Status) -> RenderableType:
    """The whole picture of a run."""
    head = Text.assemble(
        (f"tierloop {status.title}", "bold"),
        f"  {status.phase}  ",
        (f"{_clock(status.elapsed_s)} of {_clock(status.duration_s)}", "dim"),
    )
    bar = ProgressBar(total=status.duration_s, completed=min(status.elapsed_s, status.duration_s))
    parts: Iterable[RenderableType] = (
        head,
        bar,
        "",
        _headline(status.record),
        "",
        _versions(status.record),
        "",
        _processes(status),
        "",
        _events(status),
    )
    return Group(*parts)


def _headline(record: Record) -> Text:
    now = figures(record)
    return Text.assemble(
        "age of action ",
        (f"p50 {_ms(now.age_p50_ms)}  p99 {_ms(now.age_p99_ms)}", "bold"),
        "   missed ticks ",
        (f"{now.missed}", "bold"),
        (f" of {now.ticks + now.missed} ({now.missed_share:.2%})", "dim"),
        "   power ",
        (f"{now.watts:.0f} W (model)", "bold"),
        (" (model)", "dim"),
    )


def _versions(record: Record) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("policy", "episodes", "success", ""):
        table.add_column(column, justify="right" if column == "episodes" else "left")
    for lived in record.versions():
        filled = round(20 * lived.rate)
        bar = Text.assemble(("━" * filled, "green"), ("━" * (20 - filled), "bright_black"))
        rate = f"{lived.rate:.2f}" if lived.episodes else "—"
        table.add_row(f"v{lived.version}", str(lived.episodes), bar, rate)
    return table


def _processes(status: Status) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("process", "state", "W", "activity and queues"):
        table.add_column(column, justify="right" if column == "W" else "left", no_wrap=True)
    lives = status.record.newest()
    for name in sorted({*status.states, *lives}, key=lambda n: (n in ("edge", "cloud"), n)):
        life = lives.get(name)
        watts = f"{life.watts:.1f}" if life else ""
        table.add_row(name, status.states.get(name, "elsewhere"), watts, _gauges(life))
    return table


def _gauges(life: Life | None) -> str:
    if life is None:
        return ""
    gauges = life.last.gauges
    labels = [text for name, text in life.last.labels.items() if name != "energy" and text]
    words = [f"{word} {gauges[name]:.3g}" for name, word in GAUGES.items() if name in gauges]
    return "  ".join((*labels, *words))


def _events(status: Status) -> Text:
    lines = [event_line(h, status.start_ns) for h in status.record.happenings[-EVENTS_SHOWN:]]
    return Text("\n".join(lines), "dim", no_wrap=True, overflow="ellipsis")


def _ms(value: float) -> str:
    return "—" if np.isnan(value) else f"{value:.1f} ms"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
