"""What a job is charged: by its profile, its rows, and the work of the policy that answers."""

from math import log

import numpy as np
import pytest

from tierloop.contract.policy import Work
from tierloop.stack.config import hardware
from tierloop.stack.virtual.costs import Charge

SMALL, LARGE = Work(20_000, 40_000), Work(2_000_000, 4_000_000)


def median_us(charge: Charge, work: Work, rows: int) -> float:
    return float(np.median([charge.infer_ns(work, rows) for _ in range(400)])) / 1000


def test_each_policy_is_charged_by_its_own_work_as_releases_come_and_go():
    profile = hardware.load("orin-nx")
    charge = Charge(profile, np.random.default_rng(1), pytest.fail)
    for work in (SMALL, LARGE, SMALL):
        promised_us = profile.jobs.infer.us_of(work, 4)
        assert log(median_us(charge, work, 4) / promised_us) == pytest.approx(0.0, abs=0.03)


def test_what_was_not_fitted_on_is_said_once_for_each_reason():
    told: list[str] = []
    charge = Charge(hardware.load("orin-nx"), np.random.default_rng(1), told.append)
    for rows in (64, 65, 80, 65):
        charge.infer_ns(SMALL, rows)
    for _ in range(3):
        charge.infer_ns(Work(10**8, 10**8), 1)
    assert [words.split()[0] for words in told] == ["batches", "a"]
