"""The edge tier: inference for many robots, and the relay of their experience to the cloud."""

if __name__ == "edge":
    raise ImportError("this room is imported as tierloop.edge, not as edge")
