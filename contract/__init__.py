"""Ground: what the tiers say to one another. No I/O, no heavy import."""

if __name__ == "contract":
    raise ImportError("this room is imported as tierloop.contract, not as contract")
