"""Budgets that a CI can trust: statistics, verdicts, the suite's run, what comes out of it."""
