"""Tasks: a scene, its judge and its perceive stage."""
