"""Questions with figures: each a command, its bare limit measured beside it in the same run."""

LONG = ("cell", "agreement", "late_answers")
"""Those that first teach a policy and then live with it for minutes: `--quick` leaves them out."""

SUITE = (
    "codec",
    "hand_over",
    "tick",
    "lateness",
    "round_trip",
    "serving",
    "push",
    "experience",
    "rollout",
    "processes",
    "virtual",
    "fleet",
    *LONG,
)
"""The modules that `tierloop bench` runs, in this order; each has a BENCHMARK."""

if __name__ == "benchmarks":
    raise ImportError("this room is imported as tierloop.benchmarks, not as benchmarks")
