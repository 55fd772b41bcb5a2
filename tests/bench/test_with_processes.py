"""Benchmarks that start processes of the tiers come to their end."""

import pytest

from tierloop.benchmarks import processes, push

pytestmark = pytest.mark.process


def test_a_device_comes_up_and_says_hello(tmp_path):
    assert processes.cold_start(tmp_path) > 0


def test_more_releases_come_into_force_than_an_edge_is_sent_between_two_reminders():
    (series,) = push.run(1.5)
    assert len(series.ours) > 5
