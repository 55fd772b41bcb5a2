"""How messages are carried."""

if __name__ == "link":
    raise ImportError("this room is imported as tierloop.link, not as link")
