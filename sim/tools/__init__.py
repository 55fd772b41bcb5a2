"""Tools that a body carries at its wrist."""
