"""What is shown of a run, on a terminal and in a pipe."""

import io

from records import S, recorded, report, roof, row, short_run
from rich.console import Console

from tierloop.stack.watch import Status
from tierloop.views.terminal import EVENTS_SHOWN, PlainView, figures, picture, view


def status(reports, elapsed_s: float, phase: str = "running") -> Status:
    states = {"arm-0": "up", "arm-1": "starting", "edge": "down"}
    return Status("cell", phase, elapsed_s, 60.0, 100 * S, states, recorded(reports))


def text_of(renderable) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    return console.file.getvalue()


def test_the_picture_tells_phase_success_age_misses_queues_and_watts():
    text = text_of(picture(status(short_run(), 9.0)))
    for words in (
        "cell  running  0:09 of 1:00", "p50 7.0 ms", "missed ticks 6 of 4806 (0.12%)",
        "v1             4", "0.75", "backlog 1", "outbox 2", "starting", "down",
        "edge died  killed by SIGKILL",
    ):  # fmt: skip
        assert words in text, text


def test_recent_figures_forget_what_is_old():
    late = [report("arm-0", "device", t, rows=[row(t, 1000 * t, 300)]) for t in range(5)]
    fresh = [report("arm-0", "device", t, rows=[row(t, 1000 * t, 5)]) for t in range(5, 15)]
    assert figures(status([*late, *fresh], 9.0).record).age_p99_ms == 5.0
    assert figures(status(late, 9.0).record).age_p50_ms == 300.0


def plain() -> tuple[PlainView, io.StringIO]:
    console = Console(file=io.StringIO(), width=40)
    made = view(console)
    assert isinstance(made, PlainView)
    return made, console.file


def test_in_a_pipe_there_is_a_line_every_five_seconds_and_one_an_event():
    made, out = plain()
    for elapsed_s in (1.0, 2.0, 5.0, 6.0, 9.9, 10.1):
        made.show(status(short_run(), elapsed_s))
    lines = out.getvalue().splitlines()
    assert sum("missed 6/4806" in line for line in lines) == 2
    assert sum("died" in line for line in lines) == 1
    assert "\x1b" not in out.getvalue()


def test_a_flood_of_events_is_cut_and_counted():
    made, out = plain()
    flood = [(100 + i / 100, "restarted", f"edge: start number {i}") for i in range(50)]
    made.show(status(roof(100, 101, *flood), 1.0))
    lines = out.getvalue().splitlines()
    assert len(lines) == EVENTS_SHOWN + 1
    assert lines[-1].strip() == "… and 42 more events"
