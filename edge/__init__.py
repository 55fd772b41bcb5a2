"""The edge tier: local inference for many robots, and the relay of what they live through."""

if __name__ == "edge":
    raise ImportError("this room is imported as tierloop.edge, not as edge")
