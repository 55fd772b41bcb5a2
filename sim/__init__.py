"""What is simulated: bodies, sensors, tasks."""
