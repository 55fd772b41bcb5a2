"""Fits a roofline to the times of several networks, and says how far off it is."""

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec
import numpy as np

from tierloop.contract.errors import UserError
from tierloop.contract.policy import Work
from tierloop.stack.config.roofline import OPS_PER_US, Roofline

RIDGES = np.geomspace(0.1, 100.0, 121)
"""Tried for the ridge: operations a byte of weights at which computing takes as long as reading."""


class FitPoint(NamedTuple):
    """The median time of a network's answer to a batch, microseconds."""

    network: str
    work: Work
    rows: int
    us: float


def fit(points: Sequence[FitPoint], own: Work, held_out: str, engine: str, host: str) -> Roofline:
    """The roofline that is closest to the points in relative terms; `held_out` only judges it.

    `own` is the work of the network whose curve stands beside it. Raises UserError if the times
    do not grow with the network.
    """
    known = [point for point in points if point.network != held_out]
    call_us, row_us, op_us, ridge = _coefficients(known)
    gops_s = 1.0 / (op_us * OPS_PER_US)
    ops, rows = [p.work.ops for p in known], [p.rows for p in known]
    found = Roofline(
        ops=own.ops, weight_bytes=own.weight_bytes,
        call_us=_round(call_us), row_us=_round(row_us),
        gops_s=_round(gops_s), gb_s=_round(gops_s / ridge),
        networks=tuple(dict.fromkeys(point.network for point in known)),
        ops_range=(min(ops), max(ops)), rows_range=(min(rows), max(rows)),
        engine=engine, host=host, error_median=0.0, error_worst=0.0,
        held_out=held_out, error_held_out=0.0,
    )  # fmt: skip
    errors = _errors(found, known)
    unseen = _errors(found, [point for point in points if point.network == held_out])
    return msgspec.structs.replace(
        found,
        error_median=round(float(np.median(errors)), 3),
        error_worst=round(max(errors), 3),
        error_held_out=round(max(unseen), 3),
    )


def _coefficients(points: Sequence[FitPoint]) -> tuple[float, float, float, float]:
    """Microseconds a call, a row and an operation, and the ridge."""
    us = np.array([point.us for point in points])
    rows = np.array([point.rows for point in points], float)
    ops = rows * [point.work.ops for point in points]
    weight_bytes = np.array([point.work.weight_bytes for point in points], float)
    best, found = np.inf, (0.0, 0.0, 0.0, 1.0)
    for ridge in RIDGES:
        columns = np.stack([np.ones(len(us)), rows, np.maximum(ops, ridge * weight_bytes)]) / us
        given, missed = _not_negative(columns.T)
        if missed < best and given[2] > 0:
            best, found = missed, (*given, float(ridge))
    if found[2] <= 0:
        raise UserError("the measured times of an answer do not grow with the network: repeat it")
    return found


def _not_negative(columns: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """The weights of the columns, none negative, whose sum is closest to 1, and the squares left.

    Least squares over each choice of columns: there are three, so that a library has no part in it.
    """
    best, found = np.inf, np.zeros(3)
    for count in (1, 2, 3):
        for chosen in map(list, combinations(range(3), count)):
            weights = np.linalg.lstsq(columns[:, chosen], np.ones(len(columns)), rcond=None)[0]
            missed = float(np.sum((columns[:, chosen] @ weights - 1.0) ** 2))
            if missed < best and (weights >= 0).all():
                best, found = missed, np.zeros(3)
                found[chosen] = weights
    call, row, op = found.tolist()
    return (call, row, op), best


def _errors(line: Roofline, points: Collection[FitPoint]) -> list[float]:
    """Relative, one a point."""
    return [abs(line.us(point.work, point.rows) / point.us - 1.0) for point in points]


def _round(value: float) -> float:
    return float(f"{value:.4g}")
