"""Robot bodies, one file each: limits, power model, kinematics and drives."""
