"""The words for what the cloud is at, which figures are told apart by."""

WAITING = ("starting", "collecting", "retrying", "resting")
"""Phases in which no round is under way."""
