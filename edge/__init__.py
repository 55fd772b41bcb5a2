"""The edge tier: local inference for many robots, and the relay of what they live through."""
