"""Questions with figures: each a command, its baseline measured beside it in the same run.

A new benchmark is a module here with a BENCHMARK, and a line in budgets.toml.
"""

if __name__ == "benchmarks":
    raise ImportError("this room is imported as tierloop.benchmarks, not as benchmarks")
