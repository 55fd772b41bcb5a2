"""How messages are carried."""
