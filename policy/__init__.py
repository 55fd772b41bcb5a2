"""How a decision is computed and shipped."""

if __name__ == "policy":
    raise ImportError("this room is imported as tierloop.policy, not as policy")
