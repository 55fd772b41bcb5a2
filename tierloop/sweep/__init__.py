"""A grid of virtual runs over chosen keys of a deployment, and what became of them in numbers."""
