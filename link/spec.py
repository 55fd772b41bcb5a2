"""A link as a deployment declares it: a preset, and what differs from it, up and down."""

from tierloop.link.direction import DirectionSpec
from tierloop.link.presets import PRESETS, Preset


class LinkSpec(DirectionSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link: values for both directions, and what differs in one. What is not given is as in the
    preset. A value in `up` or `down` counts before one for both, and that before the preset's."""

    preset: Preset = "none"
    """Where the values not given come from; none is a link that is always at once."""
    up: DirectionSpec = DirectionSpec()
    """What differs on the way from the device to the edge, or from the edge to the cloud."""
    down: DirectionSpec = DirectionSpec()
    """What differs on the way back."""
    source: str = ""
    """Where the values come from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for direction in self.directions():
            direction.jitter()

    def directions(self) -> tuple[DirectionSpec, DirectionSpec]:
        """Up and down, with every value filled in."""
        preset = PRESETS[self.preset]
        return self.up.over(self.over(preset.up)), self.down.over(self.over(preset.down))

    @property
    def ideal(self) -> bool:
        """Whether every message arrives at once, both ways."""
        return all(direction.ideal for direction in self.directions())
