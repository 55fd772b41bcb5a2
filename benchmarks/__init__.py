"""Questions with figures: each a command, its bare limit measured beside it in the same run."""

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
)
"""The modules that `tierloop bench` runs, in this order; each has a BENCHMARK."""
