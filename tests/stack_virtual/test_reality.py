"""A stack's robots are what `[reality]` says, on the virtual clock."""

from virtual_plants import deployment, plants

from tierloop.sim.reality import Reality


def rubbed_j(reality: Reality) -> float:
    """What friction took from a plant in a second, in proportion to the way of its joints."""
    with plants(deployment(1, reality=reality)) as watched:
        watched.run(1.0)
        joules: float = watched.stack.nodes["p-0"].meter.causes["coulomb"]
        return joules


def test_weak_drives_go_less_far_in_the_stack_too():
    assert 0 < rubbed_j(Reality(drive_strength=1e-3)) < 0.5 * rubbed_j(Reality())
