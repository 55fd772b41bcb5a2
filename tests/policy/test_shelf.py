"""The shelf: what may become active, what is remembered, what is refused."""

import errno
import os
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_samples import SPEC, make_artefact, make_blob, make_features, make_spec, wrap

from tierloop.contract.errors import SpecError, UserError
from tierloop.policy import journal
from tierloop.policy import shelf as module
from tierloop.policy.artefact import ArtefactError, digest, pack
from tierloop.policy.journal import JOURNAL_FILE, KEEP
from tierloop.policy.mlp import Mlp
from tierloop.policy.shelf import GAP_MAX, Shelf

BLOBS = {version: make_blob(version) for version in range(1, 12)}


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    return Shelf(tmp_path / "shelf", SPEC, "numpy")


def again(shelf: Shelf) -> Shelf:
    return Shelf(shelf._directory, SPEC, "numpy")


def put(shelf: Shelf, version: int):
    return shelf.stage(BLOBS[version], digest(BLOBS[version]))


def release(shelf: Shelf, *versions: int) -> None:
    for version in versions:
        put(shelf, version)
        shelf.activate(version)


def reason(call, *arguments) -> str:
    with pytest.raises(ArtefactError) as caught:
        call(*arguments)
    return caught.value.reason


def history(shelf: Shelf) -> list[tuple[str, int, int]]:
    return [(e.action, e.version, e.instead_of) for e in shelf.journal]


def is_running(shelf: Shelf, version: int) -> bool:
    """Whether the active policy says it is this version and answers as this version does."""
    policy = shelf.active()
    x = make_features(SPEC, 3)
    expected = Mlp.random(SPEC, (8,), seed=version).forward(x)
    return policy.version == version and np.array_equal(policy.act(x), expected)


def test_an_empty_shelf_has_no_policy(shelf):
    assert shelf.active() is None
    assert shelf.journal == ()
    assert again(shelf).active() is None


def test_staging_does_not_activate_and_activating_survives_a_restart(shelf):
    release(shelf, 1)
    staged = put(shelf, 2)
    assert staged.version == 2
    assert is_running(shelf, 1)
    assert shelf.activate(2) is staged is shelf.active()
    assert is_running(again(shelf), 2)
    assert history(again(shelf)) == [("activate", 1, -1), ("activate", 2, 1)]


def test_a_version_must_be_staged_and_higher(shelf):
    assert reason(shelf.activate, 1) == "unknown"
    release(shelf, 3)
    put(shelf, 2)
    assert reason(shelf.activate, 2) == "regress"
    assert is_running(shelf, 3)
    assert history(shelf) == [("activate", 3, -1)]


def test_activating_again_what_is_active_changes_nothing(shelf):
    release(shelf, 1, 1)
    assert history(shelf) == [("activate", 1, -1)]


def test_another_policy_under_the_active_version_is_refused(shelf):
    release(shelf, 1)
    other = pack(make_artefact(1, hidden=5))
    shelf.stage(other, digest(other))
    assert reason(shelf.activate, 1) == "regress"
    assert is_running(shelf, 1)
    assert is_running(again(shelf), 1)


def test_rolling_back_is_recorded_and_what_was_rolled_back_stays_out(shelf):
    release(shelf, 1, 2, 3)
    assert shelf.rollback().version == 2
    assert is_running(shelf, 2)
    assert history(shelf)[-1] == ("rollback", 2, 3)
    put(shelf, 3)
    assert reason(shelf.activate, 3) == "regress"
    reopened = again(shelf)
    assert is_running(reopened, 2)
    put(reopened, 3)
    assert reason(reopened.activate, 3) == "regress"
    release(reopened, 4)
    assert is_running(reopened, 4)


def numbered(version: int) -> bytes:
    return pack(make_artefact(version))


def release_numbered(shelf: Shelf, version: int) -> None:
    shelf.stage(numbered(version), digest(numbered(version)))
    shelf.activate(version)


@pytest.mark.parametrize("version", [2**63 - 1, 2**62, 2**40, GAP_MAX + 4])
def test_a_version_that_no_cloud_can_have_reached_is_refused(shelf, version):
    release(shelf, 3)
    assert reason(release_numbered, shelf, version) == "version"
    assert is_running(shelf, 3)
    release(shelf, 4)
    assert is_running(again(shelf), 4)
    assert reason(release_numbered, Shelf(shelf._directory / "new", SPEC, "numpy"), version) == (
        "version"
    )


def test_one_that_was_long_away_takes_the_newest(shelf):
    release(shelf, 3)
    release_numbered(shelf, 10_003)
    release_numbered(shelf, 5_000_000)
    assert shelf.active().version == 5_000_000


@pytest.mark.parametrize("ordered", [False, True])
def test_one_that_ran_ahead_and_was_undone_shuts_no_honest_one_out(shelf, ordered):
    release(shelf, 3)
    release_numbered(shelf, GAP_MAX)
    put(shelf, 4)
    assert reason(shelf.activate, 4) == "regress"
    if ordered:
        shelf.rollback(4)
    else:
        shelf.rollback()
        put(shelf, 4)
        shelf.activate(4)
    release(shelf, 5)
    assert is_running(again(shelf), 5)
    assert reason(release_numbered, shelf, GAP_MAX) == "regress"


def test_the_journal_is_bounded_and_what_can_be_gone_back_to_is_not_forgotten(shelf, monkeypatch):
    monkeypatch.setattr(journal, "ENTRIES_MAX", 8)
    release(shelf, 1, 2, 3)
    for _ in range(30):
        put(shelf, 5)
        shelf._record("activate", 5, shelf._staged[5])
        put(shelf, 4)
        shelf.rollback(4)
    assert len(shelf.journal) <= 8 + KEEP
    reopened = again(shelf)
    assert [reopened.rollback().version for _ in range(2)] == [3, 2]


def test_rolling_back_goes_to_the_last_good_one_never_to_what_was_rolled_back(shelf):
    release(shelf, 1, 2)
    shelf.rollback()
    release(shelf, 3)
    assert shelf.rollback().version == 1
    assert reason(shelf.rollback) == "no_previous"
    assert is_running(shelf, 1)


def test_rolling_back_to_a_version_by_name(shelf):
    release(shelf, 2, 3, 5)
    assert shelf.rollback(2).version == 2
    put(shelf, 3)
    assert reason(shelf.rollback, 3) == "regress"
    assert reason(shelf.rollback, 1) == "unknown"
    put(shelf, 1)
    assert shelf.rollback(1).version == 1
    assert history(shelf)[-2:] == [("rollback", 2, 5), ("rollback", 1, 2)]
    put(shelf, 5)
    assert reason(shelf.activate, 5) == "regress"


def test_an_empty_shelf_has_nothing_to_go_back_to(shelf):
    assert reason(shelf.rollback) == "no_previous"
    assert reason(shelf.rollback, 1) == "unknown"


def test_a_shelf_that_missed_the_undone_version_just_activates(shelf):
    """The cloud went from 5 back to 4 while this node, on 3, was away."""
    put(shelf, 3)
    shelf.rollback(3)
    put(shelf, 4)
    shelf.rollback(4)
    put(shelf, 4)
    shelf.rollback(4)
    assert is_running(shelf, 4)
    assert history(shelf) == [("activate", 3, -1), ("activate", 4, 3)]


def test_keeps_what_it_could_go_back_to_and_no_more(shelf):
    release(shelf, *range(1, 9))
    kept = {p.stem for p in shelf._directory.glob("*.policy")}
    assert kept == {digest(BLOBS[v]) for v in range(9 - KEEP, 9)}
    for version in range(7, 8 - KEEP, -1):
        assert shelf.rollback().version == version
    assert reason(shelf.rollback) == "no_previous"


def test_leftovers_of_a_crash_are_swept(shelf):
    release(shelf, 1)
    put(shelf, 2)
    (shelf._directory / "journal.new").write_bytes(b"half")
    again(shelf)
    names = {p.name for p in shelf._directory.iterdir()}
    assert names == {JOURNAL_FILE, f"{digest(BLOBS[1])}.policy"}


def test_a_policy_for_another_body_is_refused_in_one_line(shelf):
    release(shelf, 1)
    other = make_blob(2, make_spec(features=9))
    message = r"^policy 2 .*observation is float32\[9\], the body's is float32\[6\]$"
    with pytest.raises(SpecError, match=message):
        shelf.stage(other, digest(other))
    named = make_blob(2, make_spec(body="other"))
    with pytest.raises(SpecError, match="body differs from the body's: 'other', not 'twin'"):
        shelf.stage(named, digest(named))
    assert is_running(shelf, 1)
    assert reason(shelf.activate, 2) == "unknown"
    with pytest.raises(SpecError, match="policy 1"):
        Shelf(shelf._directory, make_spec(features=9), "numpy")


def test_a_graph_the_runtime_refuses_never_reaches_the_disk(tmp_path):
    shelf = Shelf(tmp_path, SPEC, "onnx")
    assert reason(put, shelf, 1) == "graph"
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_answers_nonsense_is_found_before_it_may_act(shelf):
    release(shelf, 1)
    mlp = Mlp.random(SPEC, (8,), seed=2)
    huge = tuple(np.sign(w) * np.float32(3e38) for w in mlp.weights)
    blob = pack(wrap(replace(mlp, weights=huge), 2))
    assert reason(shelf.stage, blob, digest(blob)) == "answer"
    assert reason(shelf.activate, 2) == "unknown"
    assert is_running(again(shelf), 1)


@given(bit=st.integers(0, len(BLOBS[2]) * 8 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_and_the_old_policy_runs_on(shelf, bit):
    release(shelf, 1)
    blob = bytearray(BLOBS[2])
    blob[bit // 8] ^= 1 << bit % 8
    assert reason(shelf.stage, bytes(blob), digest(BLOBS[2])) == "hash"
    assert is_running(shelf, 1)
    assert is_running(again(shelf), 1)


@given(bit=st.integers(0, len(BLOBS[2]) * 8 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_bit_that_flips_on_disk_brings_back_the_last_good_one_on_record(tmp_path_factory, bit):
    shelf = Shelf(tmp_path_factory.mktemp("shelf"), SPEC, "numpy")
    release(shelf, 1, 2)
    path = shelf._path(digest(BLOBS[2]))
    blob = bytearray(path.read_bytes())
    blob[bit // 8] ^= 1 << bit % 8
    path.write_bytes(blob)
    reopened = again(shelf)
    assert is_running(reopened, 1)
    assert history(reopened)[-1] == ("damaged", 1, 2)
    assert is_running(again(reopened), 1)
    release(reopened, 2)
    assert is_running(again(reopened), 2)


def test_when_every_file_is_damaged_the_active_one_can_be_fetched_again(shelf):
    release(shelf, 1, 2)
    for path in shelf._directory.glob("*.policy"):
        path.write_bytes(b"")
    reopened = again(shelf)
    assert reopened.active() is None
    release(reopened, 2)
    assert is_running(reopened, 2)
    assert is_running(again(reopened), 2)
    assert reason(reopened.rollback) == "hash"
    assert is_running(reopened, 2)


def test_where_nothing_is_left_an_older_one_may_act_but_none_that_was_undone(shelf):
    release(shelf, 1, 2, 3)
    shelf.rollback()
    for path in shelf._directory.glob("*.policy"):
        path.unlink()
    reopened = again(shelf)
    put(reopened, 3)
    assert reason(reopened.activate, 3) == "regress"
    release(reopened, 1)
    assert is_running(again(reopened), 1)
    assert history(reopened)[-1] == ("damaged", 1, 2)


def test_a_step_back_passes_over_what_is_damaged(shelf):
    release(shelf, 1, 2, 3)
    shelf._path(digest(BLOBS[2])).write_bytes(b"")
    assert shelf.rollback().version == 1
    assert history(shelf)[-1] == ("rollback", 1, 3)
    assert is_running(again(shelf), 1)


def test_on_a_full_disk_the_last_good_one_acts_and_is_on_record_later(shelf, monkeypatch):
    release(shelf, 1, 2)
    shelf._path(digest(BLOBS[2])).write_bytes(b"")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(module.os, "fsync", full)
        disk.setattr(module, "_sync", lambda _: None)
        reopened = again(shelf)
        assert is_running(reopened, 1)
        assert is_running(again(shelf), 1)
    release(reopened, 3)
    assert history(again(shelf))[-2:] == [("damaged", 1, 2), ("activate", 3, 1)]


def test_a_missing_file_counts_as_damaged(shelf):
    release(shelf, 1, 2)
    shelf._path(digest(BLOBS[2])).unlink()
    assert is_running(again(shelf), 1)


@pytest.mark.parametrize(
    "content", [b"", b"[", b'[{"action": "promote"}]', b"\xff", b'["\xff"]', b"[" * 9999]
)
def test_a_journal_that_cannot_be_read_is_never_taken_for_none(shelf, content):
    release(shelf, 1)
    (shelf._directory / JOURNAL_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"journal\.json: unreadable .* remove"):
        again(shelf)


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot keep policies here"):
        Shelf(tmp_path / "file", SPEC, "numpy")


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_full_disk_is_a_refusal_and_the_old_policy_runs_on(shelf, monkeypatch, call):
    release(shelf, 1)
    put(shelf, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, call, full)
        assert reason(put, shelf, 3) == "disk"
        assert reason(shelf.activate, 2) == "disk"
    assert is_running(shelf, 1)
    assert is_running(again(shelf), 1)
    assert shelf.activate(2).version == 2


def test_a_file_that_cannot_be_removed_does_not_undo_an_activation(shelf, monkeypatch):
    def denied(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(module.os, "unlink", denied)
    release(shelf, *range(1, KEEP + 3))
    assert is_running(shelf, KEEP + 2)


@given(st.lists(st.one_of(st.integers(1, 11), st.just("back"), st.just("restart")), max_size=25))
@settings(max_examples=40, deadline=None)
def test_no_sequence_lowers_the_version_without_a_rollback_on_record(tmp_path_factory, actions):
    shelf = Shelf(tmp_path_factory.mktemp("shelf"), SPEC, "numpy")
    undone: set[int] = set()
    for action in actions:
        before = shelf.active().version if shelf.active() else -1
        if action == "restart":
            shelf = again(shelf)
        with suppress(ArtefactError):
            if action == "back":
                shelf.rollback()
                undone.add(before)
            elif action != "restart":
                release(shelf, action)
        after = shelf.active().version if shelf.active() else -1
        assert after >= before or history(shelf)[-1] == ("rollback", after, before)
        assert after not in undone
        assert after == (history(shelf)[-1][1] if shelf.journal else -1)
    for one, two in pairwise(shelf.journal):
        assert two.instead_of == one.version
        assert (two.version < one.version) == (two.action == "rollback")
    assert os.listdir(shelf._directory).count(JOURNAL_FILE) == bool(shelf.journal)
