"""Budgets for a policy and a body of one's own."""
