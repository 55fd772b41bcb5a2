"""The benchmark of processes starts a device as the supervisor does."""

import pytest

from tierloop.benchmarks import processes


@pytest.mark.process
def test_a_device_comes_up_and_says_hello(tmp_path):
    assert processes.cold_start(tmp_path) > 0
