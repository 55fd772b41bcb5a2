"""Tasks: what a robot meets, who judges it, what it perceives, and an expert to learn from."""
