"""What is simulated: bodies, sensors, tasks."""

if __name__ == "sim":
    raise ImportError("this room is imported as tierloop.sim, not as sim")
