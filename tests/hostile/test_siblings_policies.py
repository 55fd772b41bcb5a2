"""Siblings of the hostile cases: what a lying cloud offers is refused, a good one still comes."""

import numpy as np
import pytest
from benches import MS, S, blob, edge, offer

from tierloop.contract.messages import Fetch, Part, PolicyStatus, Stored
from tierloop.policy.artefact import digest


def parts(fetches, data):
    for fetch in fetches:
        if isinstance(fetch, Fetch):
            body = data[fetch.offset : fetch.offset + fetch.length]
            yield Part(digest=fetch.digest, offset=fetch.offset, data=np.frombuffer(body, np.uint8))


def install(bench, version):
    said = bench.told(offer(version))
    return bench.told(*parts(said, blob(version)))


def states(messages):
    return [(m.version, m.state) for m in messages if isinstance(m, PolicyStatus)]


def version(bench):
    return bench.report().gauges["policy_version"]


@pytest.mark.parametrize("size", [2**62, 2**63 - 1, 2**40, 0, 1])
def test_an_offer_of_any_size_holds_no_memory_and_bars_nobody(tmp_path, size):
    bench = edge(tmp_path, 1)
    bench.told(offer(2, size=size, digest="f" * 64))
    assert states(install(bench, 3)) == [(3, "active")]
    assert version(bench) == 3


def test_another_offer_each_second_leaves_one_download(tmp_path):
    bench = edge(tmp_path, 1)
    for number in range(2000):
        said = bench.told(offer(2 + number % 50, digest=f"{number:064x}", size=16_000_000))
        assert sum(isinstance(m, Fetch) for m in said) <= 8
        bench.step(S // 2)
    assert bench.node.releases._download.offer.digest == f"{1999:064x}"
    bench.report()
    assert (3, "active") in states(install(bench, 3))


def test_parts_that_overlap_or_come_twice_make_no_other_policy(tmp_path):
    bench = edge(tmp_path, 1)
    said = bench.told(offer(2))
    data, evil = blob(2), np.full(64, 255, np.uint8)
    for offset in (1, 7, 63, 2**62, len(data) - 1, 0):
        bench.told(Part(digest=digest(data), offset=offset, data=evil))
    assert bench.count("parts_unasked") == 6
    honest = list(parts(said, data))
    assert states(bench.told(*honest, *honest)) == [(2, "active")]


def test_parts_that_lie_are_found_and_the_offer_may_come_again(tmp_path):
    bench = edge(tmp_path, 1)
    said = bench.told(offer(2))
    bench.told(*parts(said, bytes(len(blob(2)))))
    assert version(bench) == 1
    bench.step(S // 2)
    assert (2, "active") in states(install(bench, 2))


def test_receipts_for_what_never_went_up_delete_nothing_that_comes(tmp_path):
    bench = edge(tmp_path, 1)
    for boot in (0, 7, 2**62):
        bench.told(Stored(device="arm-0", boot=boot, below=2**62, also=tuple(range(500))))
    bench.step(10 * MS)
    bench.report()
    assert bench.node.relay.standing.rows == 0
