"""The names under which Gymnasium makes the environments; what they need is loaded when one is."""

SORT_PANDA = "tierloop/SortPanda-v0"


def register() -> None:
    """Makes them known. Gymnasium calls it, as an entry point of its plugins, on import."""
    from gymnasium.envs.registration import register, registry

    if SORT_PANDA not in registry:
        register(id=SORT_PANDA, entry_point="sim.env:SortEnv")
