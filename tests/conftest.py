"""Shared by all tests."""

import signal
import sys
import threading
from collections.abc import Iterator

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Leaves the long simulations untraced: tracing doubles their time and finds nothing new.

    pytest-cov's own `no_cover` does not, in xdist's workers: it starts its coverage twice there,
    and to pause the second is to go on with the first.
    """
    if item.path.parent.name in MEASURED and not item.get_closest_marker("untraced"):
        return (yield)
    traces = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(traces[0])
        threading.settrace(traces[1])
