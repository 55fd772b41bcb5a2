"""The device tier: the control loop of one robot. It never waits for another tier."""

if __name__ == "device":
    raise ImportError("this room is imported as tierloop.device, not as device")
