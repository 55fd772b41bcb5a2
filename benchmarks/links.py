"""Do the presets of the links do what their sources say? Source against simulation, by direction.

    python -m tierloop.benchmarks.links

Messages of 200 bytes go up by chance at a mean rate, and each is answered at once; the links lose
nothing meanwhile. A source's figure stands beside what the model does, at three rates: the delay
of a link must not depend on how often somebody sends. It takes a minute.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

import numpy as np

from tierloop.benchmarks.rig import markdown
from tierloop.contract.clock import NS_PER_MS, NS_PER_S
from tierloop.contract.specs import FloatArray
from tierloop.link.model import LinkModel
from tierloop.link.presets import PRESETS, Leg, SourcePoint
from tierloop.link.spec import LinkSpec

SAMPLES = ((1.0, 100_000), (20.0, 100_000), (200.0, 100_000))
"""Messages a second, and how many; the more a second, the fewer stalls do as many meet."""
SIZE_BYTES = 200
SHARES = (0.5, 0.9, 0.99)
"""Shown of every direction, whether a source gives them or not."""
_SEED = 1


class LegLine(NamedTuple):
    """One quantile: what the source gives, if it does, and what came out at each rate."""

    preset: str
    leg: Leg
    share: float
    source_ms: float | None
    simulated_ms: tuple[float, ...]


def legs_ms(preset: str, rate_hz: float, messages: int, seed: int) -> dict[Leg, FloatArray]:
    """The delays of so many messages and their answers, in milliseconds: up, down, both."""
    link = LinkSpec(preset=preset, loss=0)  # type: ignore[arg-type]
    clocks, *generators = np.random.default_rng(seed).spawn(3)
    up, down = (LinkModel(d, g) for d, g in zip(link.directions(), generators, strict=True))
    sent_ns = np.cumsum(clocks.exponential(NS_PER_S / rate_hz, messages)).astype(np.int64)
    times = np.array(list(_exchanges(up, down, sent_ns.tolist()))) / NS_PER_MS
    there, back = np.diff(times, axis=1).T
    return {"up": there, "down": back, "round trip": there + back}


def _exchanges(up: LinkModel, down: LinkModel, sent_ns: list[int]) -> Iterator[tuple[int, ...]]:
    for at_ns in sent_ns:
        (there,) = up.carry(at_ns, SIZE_BYTES)
        (back,) = down.carry(there.at_ns, SIZE_BYTES)
        yield at_ns, there.at_ns, back.at_ns


def lines(preset: str, samples: Sequence[tuple[float, int]] = SAMPLES) -> list[LegLine]:
    """What there is to compare of a preset, at each of the rates with so many messages."""
    simulated = [legs_ms(preset, rate_hz, messages, _SEED) for rate_hz, messages in samples]
    given = PRESETS[preset].measured
    found = []
    for leg in get_args(Leg):
        own = [point for point in given if point.leg == leg]
        for _, share, ms in own or [SourcePoint(leg, share, np.nan) for share in SHARES]:
            quantiles = tuple(float(np.quantile(legs[leg], share)) for legs in simulated)
            found.append(LegLine(preset, leg, share, ms if own else None, quantiles))
    return found


def main() -> None:
    found = [line for preset in PRESETS if preset != "none" for line in lines(preset)]
    rates = [f"{rate_hz:g}/s" for rate_hz, _ in SAMPLES]
    given = [line for line in found if line.source_ms is not None]
    print(markdown.table(("preset", "leg", "share", "source ms", *rates), map(cells, given)))
    assumed = [line for line in found if line.source_ms is None]
    print("\nNo source gives these:\n")
    print(markdown.table(("preset", "leg", "share", *rates), map(cells, assumed)))


def cells(line: LegLine) -> tuple[str, ...]:
    """Of a row of the tables; delays in milliseconds."""
    source = () if line.source_ms is None else (f"{line.source_ms:g}",)
    simulated = (f"{ms:.3g}" for ms in line.simulated_ms)
    return f"`{line.preset}`", line.leg, f"p{100 * line.share:g}", *source, *simulated


if __name__ == "__main__":
    main()
