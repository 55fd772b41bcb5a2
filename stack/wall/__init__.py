"""The stack on the wall clock: real processes, supervised."""
