"""Ground: what the tiers say to one another. No I/O, no heavy import."""
