"""The simulation: robot bodies, their tools, tasks with scene and sensors, and what joins them."""

if __name__ == "sim":
    raise ImportError("this room is imported as tierloop.sim, not as sim")
