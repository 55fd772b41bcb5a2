"""The sort task: layout, scene, scanning station, perceive stage and expert."""
