"""A declared stack, alive: its configuration, its faults, its record, its two clocks."""

if __name__ == "stack":
    raise ImportError("this room is imported as tierloop.stack, not as stack")
