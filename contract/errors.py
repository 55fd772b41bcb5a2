"""Two families of error: the caller's, which raise, and a peer's, which become events."""


class UserError(Exception):
    """What the user gave is wrong; one line names the thing and the remedy (exit 2)."""


class SpecError(UserError):
    """A value does not fit its spec; the text names the field and both shapes."""


class WireError(Exception):
    """What a peer sent is refused; `reason` is a short word fit for a counter.

    It never leaves the link: a channel counts it and drops the bytes.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
