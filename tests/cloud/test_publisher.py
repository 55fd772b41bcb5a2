"""Every edge is told what is newest, and can fetch it whole."""

import hashlib

from tierloop.cloud.publisher import KEPT, OFFERS_MAX, PART_MAX, SPARE_BYTES, Publisher, Release
from tierloop.contract.codec import Codec
from tierloop.contract.effects import Send
from tierloop.contract.messages import Fetch, Offer, Part, PolicyStatus


def release(version, size=10):
    blob = bytes([version]) * size
    return Release(version, hashlib.sha256(blob).hexdigest(), (version - 1,), blob)


def status(of, state, reason=""):
    return PolicyStatus(
        node="edge", version=of.version, digest=of.digest, state=state, reason=reason
    )


def fetch(publisher, of, offset=0, length=PART_MAX):
    return publisher.fetch("edge", Fetch(digest=of.digest, offset=offset, length=length))


def test_a_release_is_offered_to_all_in_session_and_to_all_who_come():
    publisher, first = Publisher(), release(1)
    assert publisher.joined("edge-0") == []
    (sent,) = publisher.release(first)
    assert sent == Send("edge-0", first.offer())
    assert isinstance(sent.message, Offer)
    assert sent.message.size == 10
    assert publisher.joined("edge-1") == [Send("edge-1", first.offer())]
    assert publisher.joined("edge-0") == [Send("edge-0", first.offer())]
    assert publisher.release(first) == [Send(f"edge-{n}", first.offer()) for n in (0, 1)]
    publisher.left("edge-0")
    assert publisher.release(release(2)) == [Send("edge-1", release(2).offer())]


def test_a_blob_is_fetched_whole_in_parts_that_fit_a_frame():
    publisher, big = Publisher(), release(1, 3 * PART_MAX + 7)
    publisher.release(big)
    blob = b""
    while len(blob) < len(big.blob):
        (sent,) = fetch(publisher, big, len(blob), 10**9)
        assert isinstance(sent.message, Part)
        assert sent.message.offset == len(blob)
        assert len(sent.message.data) <= PART_MAX
        Codec().encode(sent.message)
        blob += sent.message.data.tobytes()
    assert blob == big.blob
    assert publisher.counts["parts"] == 4


def test_parts_that_do_not_exist_are_counted_not_served():
    publisher, one = Publisher(), release(1)
    publisher.release(one)
    for offset, length in [(10, 1), (0, 0), (2**63 - 1, 2**63 - 1)]:
        assert fetch(publisher, one, offset, length) == []
    assert fetch(publisher, release(2)) == []
    assert publisher.counts["refused.fetch_range"] == 3
    assert publisher.counts["refused.fetch_unknown"] == 1


def test_a_download_under_way_may_end_after_the_next_release():
    publisher, releases = Publisher(), [release(v) for v in range(KEPT + 1)]
    for one in releases:
        publisher.release(one)
    assert fetch(publisher, releases[0]) == []
    assert all(fetch(publisher, one) for one in releases[1:])


def test_who_asks_for_ever_is_sent_a_bounded_share_until_the_next_reminder():
    publisher, one = Publisher(), release(1, 3 * PART_MAX)
    publisher.release(one)
    sent = [part for n in range(500) for part in fetch(publisher, one, n % 3 * PART_MAX)]
    assert sum(len(part.message.data) for part in sent) == 2 * len(one.blob) + SPARE_BYTES
    assert publisher.counts["refused.fetch_often"] == 500 - len(sent)
    assert publisher.fetch("other", Fetch(digest=one.digest, offset=0, length=9)) != []
    publisher.remind()
    assert fetch(publisher, one) != []


def test_it_knows_who_runs_what():
    publisher = Publisher()
    publisher.status("edge-0", status(release(1), "active"))
    publisher.status("edge-1", status(release(2), "staged"))
    assert publisher.active == {"edge-0": 1}


def test_what_never_fits_an_edge_is_not_offered_to_it_again():
    publisher, one = Publisher(), release(1)
    publisher.release(one)
    assert publisher.joined("edge")
    publisher.status("edge", status(one, "refused", "spec: observation differs"))
    assert publisher.joined("edge") == []
    assert publisher.joined("other") == [Send("other", one.offer())]
    assert publisher.release(release(2)) != []


def test_a_passing_refusal_is_tried_again_but_not_for_ever():
    publisher, one = Publisher(), release(1)
    publisher.release(one)
    for _ in range(OFFERS_MAX):
        assert publisher.joined("edge")
        publisher.status("edge", status(one, "refused", "digest"))
    assert publisher.joined("edge") == []
    assert publisher.counts["release_refused"] == OFFERS_MAX


def test_an_offer_that_was_lost_is_made_again_until_the_release_runs():
    publisher, one, two = Publisher(), release(1), release(2)
    assert publisher.remind() == []
    publisher.release(one)
    publisher.joined("edge")
    assert publisher.remind() == [Send("edge", one.offer())]
    publisher.status("edge", status(one, "active"))
    assert publisher.remind() == []
    publisher.release(two)
    assert publisher.remind() == [Send("edge", two.offer())]
    for _ in range(2 * OFFERS_MAX):
        publisher.status("edge", status(two, "refused", "disk: no space left"))
    assert publisher.remind() == [Send("edge", two.offer())]
    for _ in range(OFFERS_MAX):
        publisher.status("edge", status(two, "refused", "engine: it fails"))
    assert publisher.remind() == []
    publisher.release(release(3))
    publisher.left("edge")
    assert publisher.remind() == []


def test_edges_that_come_and_go_under_ever_new_names_leave_nothing():
    publisher = Publisher()
    for n in range(1, 50):
        edge, newest = f"edge-{n}", release(n)
        publisher.release(newest)
        publisher.joined(edge)
        publisher.status(edge, status(newest, "active"))
        publisher.status(edge, status(newest, "refused", "engine: no"))
        publisher.left(edge)
    assert publisher.active == {}
    assert len(publisher._refusals) == KEPT
    assert publisher.joined("edge-49") == [Send("edge-49", release(49).offer())]
