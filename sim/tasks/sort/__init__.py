"""The sorting task: what is sorted, the scene, its scanner, what is perceived."""
