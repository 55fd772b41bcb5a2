"""The record of a run: what is kept, what the disks hold, what follows from it."""
