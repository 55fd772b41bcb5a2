"""How a decision is computed and shipped."""
