"""The virtual clock: the whole stack in one process, on one heap of events, exact by its seed."""
