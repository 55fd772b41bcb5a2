"""The device tier: a control loop that waits for no one."""
