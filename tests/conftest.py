"""Shared by all tests."""

import signal

import pytest
from hypothesis import settings
from ports import free_address

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci")


def pytest_configure() -> None:
    """Lets what tests start hear Ctrl-C, which a background job of a script ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def address() -> str:
    """A loopback address that nothing listens at."""
    return free_address()


MEASURED = ("contract", "device", "edge", "energy", "link", "policy")
"""Folders of tests whose subject is a package of [tool.coverage.run]."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves the long simulations untraced: tracing doubles their time and finds nothing new."""
    for item in items:
        if item.path.parent.name not in MEASURED:
            item.add_marker(pytest.mark.no_cover)
