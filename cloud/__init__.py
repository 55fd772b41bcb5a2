"""The cloud tier: stores what bodies live through, learns from it, releases policies."""

if __name__ == "cloud":
    raise ImportError("this room is imported as tierloop.cloud, not as cloud")
