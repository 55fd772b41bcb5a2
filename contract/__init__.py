"""What the tiers say to one another: messages, specs and tables. Needs numpy and msgspec only."""

if __name__ == "contract":
    raise ImportError("this room is imported as tierloop.contract, not as contract")
