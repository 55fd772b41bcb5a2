"""The cloud tier: stores what bodies live through, learns from it, releases policies."""
