"""Tools that a robot carries at its hand."""
