"""The pytest plugin: a fixture `budget` that asserts what a policy may cost."""
