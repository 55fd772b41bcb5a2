"""The sorting cell: where belt, scanning station and bins are. Metres, base frame of the arm.

The belt runs along +y in front of the arm; the bins stand in a row behind it, lower.
"""

BELT_X_M = 0.42
BELT_TOP_M = 0.12
BELT_HALF_M = (0.08, 0.60, 0.02)
BELT_Y_M = -0.20
"""Middle of the belt along its run."""
BELT_END_M = 0.26
"""A part that passes this has got away."""

SCAN_END_M = -0.18
"""The scanning station sees parts upstream of this; picking begins here."""

BINS_M = ((0.64, -0.20), (0.64, 0.0), (0.64, 0.20))
"""Middles of the bins; the class of a part is the number of its bin."""
BIN_HALF_M = 0.085
"""Half the inner side of a bin."""
BIN_RIM_M = 0.09

KINDS = ("box", "cylinder", "disc")
HEIGHT_MAX_M = 0.06
"""The tallest part."""
