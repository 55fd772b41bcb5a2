"""What does blending cost, and what is it worth? Success, age and joules by the length of a fade.

    python -m tierloop.benchmarks.blending --policy policy-*.artefact

The sorting cell's arm as in `late_answers`, with everything as shipped but `blend_ms`.
"""

import numpy as np

from tierloop.bench.bench_command import console
from tierloop.benchmarks.rig import markdown
from tierloop.benchmarks.rig.late import ActingCase, arguments, live_all
from tierloop.device.config import ActingConfig
from tierloop.link.spec import LinkSpec
from tierloop.views.charts import wilson

LINKS = {
    "none": LinkSpec(),
    "wifi": LinkSpec(preset="wifi"),
    "lte": LinkSpec(preset="lte"),
    "118 ms one way": LinkSpec(delay_ms=118),
    "213 ms one way": LinkSpec(delay_ms=213),
}
BLENDS_MS = (0.0, 25.0, 50.0, 100.0, 500.0)


def main() -> None:
    args = arguments(__doc__).parse_args()
    blobs, screen = [path.read_bytes() for path in args.policy], console()
    cases = {
        (name, blend_ms): ActingCase(ActingConfig(blend_ms=blend_ms), link)
        for name, link in LINKS.items()
        for blend_ms in BLENDS_MS
    }
    lived = live_all(cases.values(), blobs, args.episodes, args.jobs, screen)

    def line(name: str, blend_ms: float) -> tuple[str, ...]:
        what = lived[cases[name, blend_ms]]
        low, high = wilson(what.successes, what.episodes)
        (age, oldest), (age_p99, oldest_p99) = np.percentile(what.ages_ms, (50, 99), axis=0)
        return (
            name, f"{blend_ms:g}", f"{what.successes} of {what.episodes}",
            f"{low:.2f} to {high:.2f}", f"{age:.0f}", f"{age_p99:.0f}", f"{oldest:.0f}",
            f"{oldest_p99:.0f}", f"{1e3 * np.mean(what.seams_rad):.0f}",
            f"{what.limited / what.ticks:.2f}", f"{1e3 * np.mean(what.behind_rad):.1f}",
            f"{what.actuation_j / what.episodes:.0f}",
        )  # fmt: skip

    heads = (
        "link", "blend_ms", "sorted", "95 %", "age p50, ms", "p99", "oldest p50", "p99",
        "seam, mrad", "at a limit", "behind, mrad", "J a part",
    )  # fmt: skip
    print(markdown.table(heads, (line(*point) for point in cases)))


if __name__ == "__main__":
    main()
