"""Faults: their kinds, when they strike, and what befalls a clock, a body, a node."""
