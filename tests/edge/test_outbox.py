"""The outbox against a model of it, through crashes, duplicates and a quota."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from edge_bench import SPEC
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tierloop.contract.errors import UserError
from tierloop.contract.messages import ALSO_MAX, SegmentId, Stored
from tierloop.edge.boots import RUNS_MAX
from tierloop.edge.config import EdgeConfig
from tierloop.edge.main import build
from tierloop.edge.outbox import MARK_BYTES, ROW_BYTES, RUN_BYTES, Outbox, Parcel
from tierloop.edge.triage import Priority

QUOTA = 2500


def parcel(
    seq: int, priority: int = 0, size: int = 10, device: str = "arm", boot: int = 1
) -> Parcel:
    name = SegmentId(device, boot, seq)
    return Parcel(name, hash(name) % 2**62, Priority(priority), bytes([seq % 256]) * size)


def crash(path: Path) -> Path:
    """What kill -9 leaves of a file in use: the bytes as they are, for another process to open."""
    copy = Path(tempfile.mkdtemp(dir=path.parent)) / path.name
    for suffix in ("", "-wal"):
        if (source := path.with_name(path.name + suffix)).exists():
            shutil.copy(source, copy.with_name(copy.name + suffix))
    return copy


def held(path: Path) -> list[Parcel]:
    """All parcels of an outbox, in the order in which they would go up."""
    return Outbox(crash(path), QUOTA).lend(10_000)[0]


NUMBERS = st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 12))


class OutboxMachine(RuleBasedStateMachine):
    """The model: what is held in order of arrival, what is lent, every name ever taken in."""

    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "outbox.sqlite"
        self.outbox = Outbox(self.path, QUOTA)
        self.dead: list[Outbox] = []
        self.held: list[Parcel] = []
        self.lent: set[SegmentId] = set()
        self.seen: set[SegmentId] = set()
        self.stored = self.gone = self.shed = 0

    @rule(
        entries=st.lists(
            st.tuples(NUMBERS, st.integers(0, 3), st.integers(1, 300), st.booleans()), max_size=6
        )
    )
    def commit(self, entries):
        parcels, others = [], []
        for (device, boot, seq), priority, size, fits in entries:
            made = parcel(seq, priority, size, device, boot)
            (parcels if fits else others).append(made if fits else made.name)
        shed = self.commit_to_model(parcels, others)
        committed = self.outbox.commit(parcels, others)
        names = {p.name for p in parcels} | set(others)
        assert {(a.device, a.boot) for a in committed.acks} == {n[:2] for n in names}
        for ack in committed.acks:
            assert ack.below == self.below(ack.device, ack.boot)
            mine = {n.seq for n in names if n[:2] == (ack.device, ack.boot)}
            assert set(ack.also) == {seq for seq in mine if seq >= ack.below}
        counted = {n: c for n, c in committed.counts.items() if n.startswith("shed.") and c}
        assert counted == {f"shed.{p.name.lower()}": n for p, n in shed.items()}

    def commit_to_model(self, parcels, others) -> dict[Priority, int]:
        for made in parcels:
            if made.name not in self.seen:
                self.seen.add(made.name)
                self.held.append(made)
                self.stored += 1
        self.seen.update(others)
        shed: dict[Priority, int] = {}
        while self.used() > QUOTA:
            free = [p for p in self.held if p.name not in self.lent]
            if not free:
                break
            least = min(free, key=lambda p: p.priority)
            self.held.remove(least)
            self.shed += 1
            shed[least.priority] = shed.get(least.priority, 0) + 1
        return shed

    def used(self) -> int:
        boots = {n[:2] for n in self.seen}
        runs = sum((d, b, s - 1) not in self.seen for d, b, s in self.seen)
        held = sum(len(p.body) + ROW_BYTES for p in self.held)
        return held + len(boots) * MARK_BYTES + runs * RUN_BYTES

    def below(self, device: str, boot: int) -> int:
        return next(n for n in range(100) if SegmentId(device, boot, n) not in self.seen)

    @rule(limit=st.integers(0, 5))
    def lend(self, limit):
        free = [p for p in self.held if p.name not in self.lent]
        expected = sorted(free, key=lambda p: -p.priority)[:limit]
        lent, standing = self.outbox.lend(limit)
        assert lent == expected
        self.lent.update(p.name for p in lent)
        assert standing.unlent == len(free) - len(lent)

    @rule(key=NUMBERS, also=st.sets(st.integers(0, 12), max_size=3))
    def settle(self, key, also):
        device, boot, below = key
        gone = [
            p for p in self.held
            if p.name[:2] == (device, boot) and (p.name.seq < below or p.name.seq in also)
        ]  # fmt: skip
        receipt = Stored(device=device, boot=boot, below=below, also=tuple(also))
        deleted, _ = self.outbox.settle([receipt])
        assert deleted == len(gone)
        self.held = [p for p in self.held if p not in gone]
        self.lent -= {p.name for p in gone}
        self.gone += deleted

    @rule()
    def kill(self):
        self.path = crash(self.path)
        self.dead.append(self.outbox)
        self.outbox = Outbox(self.path, QUOTA)
        self.lent = set()
        loaded = self.outbox.load()
        assert held(self.path) == sorted(self.held, key=lambda p: -p.priority)
        assert loaded.below == {n[:2]: self.below(*n[:2]) for n in self.seen}
        assert loaded.standing.unlent == len(self.held)

    @invariant()
    def holds_exactly_what_it_should(self):
        rows = self.outbox._connection().execute("SELECT device, boot, seq, body FROM parcels")
        assert [(SegmentId(*row[:3]), row[3]) for row in rows] == [
            (p.name, p.body) for p in self.held
        ]
        standing = self.outbox.load().standing
        assert standing.rows == len(self.held) == self.stored - self.gone - self.shed
        assert standing.bytes == sum(len(p.body) for p in self.held)
        for name in self.seen:
            assert self.outbox.knows(name)

    def teardown(self):
        if hasattr(self, "directory"):
            for outbox in [*self.dead, self.outbox]:
                outbox._connection().close()
            shutil.rmtree(self.directory)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=20)


@pytest.fixture
def outbox(tmp_path) -> Outbox:
    return Outbox(tmp_path / "outbox.sqlite", 100_000)


def test_durability_is_asked_for_and_granted(outbox):
    outbox.load()
    for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2)):
        assert outbox._connection().execute(f"PRAGMA {pragma}").fetchone() == (wanted,)


def test_a_file_that_cannot_be_durable_is_refused():
    with pytest.raises(sqlite3.OperationalError, match="journal_mode is memory"):
        Outbox(Path(":memory:"), 1000).load()


def test_two_edges_cannot_share_one_outbox(outbox, tmp_path):
    outbox.commit([parcel(0)])
    other = sqlite3.connect(tmp_path / "outbox.sqlite", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM parcels")
    other.close()


def test_a_full_disk_fails_the_group_whole_and_heals(outbox, tmp_path):
    outbox.commit([parcel(0)])
    db = outbox._connection()
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 2}")
    group = [parcel(seq, size=3000) for seq in range(1, 9)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        outbox.commit(group)
    assert outbox.load().standing.rows == 1
    assert not outbox.knows(group[0].name)
    assert held(tmp_path / "outbox.sqlite") == [parcel(0)]
    db.execute("PRAGMA max_page_count=1000000")
    committed = outbox.commit(group)
    assert committed.counts["stored"] == 8
    assert held(tmp_path / "outbox.sqlite") == [parcel(0), *group]


def test_a_commit_that_fails_at_its_very_end_changes_nothing(outbox, tmp_path, monkeypatch):
    outbox.commit([parcel(0)])
    db = outbox._connection()

    class Failing:
        in_transaction = property(lambda self: db.in_transaction)

        def execute(self, statement, *values):
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return db.execute(statement, *values)

    monkeypatch.setattr(outbox, "_db", Failing())
    with pytest.raises(sqlite3.OperationalError):
        outbox.commit([parcel(1)])
    with pytest.raises(sqlite3.OperationalError):
        outbox.settle([Stored(device="arm", boot=1, below=1)])
    monkeypatch.setattr(outbox, "_db", db)
    assert outbox.load().standing == (1, 10, 1)
    assert held(tmp_path / "outbox.sqlite") == [parcel(0)]
    assert outbox.commit([parcel(1)]).counts["stored"] == 1


def test_a_file_that_is_no_database_says_so_each_time_and_recovers(tmp_path):
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"not a database" * 100)
    outbox = Outbox(path, 1000)
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            outbox.commit([parcel(0)])
    path.unlink()
    assert outbox.commit([parcel(0)]).counts["stored"] == 1


def test_a_long_list_above_a_gap_is_acknowledged_in_several_messages(outbox):
    acks = outbox.commit([parcel(seq) for seq in range(1, 2 * ALSO_MAX)]).acks
    assert [len(a.also) for a in acks] == [ALSO_MAX, ALSO_MAX - 1]
    assert {a.below for a in acks} == {0}
    (last,) = outbox.commit([parcel(0)]).acks
    assert (last.below, last.also) == (2 * ALSO_MAX, ())


def test_what_is_under_way_is_never_shed(tmp_path):
    one = 60 + ROW_BYTES + MARK_BYTES + RUN_BYTES
    outbox = Outbox(tmp_path / "outbox.sqlite", one + 40)
    outbox.commit([parcel(0, size=60)])
    outbox.lend(1)
    assert outbox.commit([parcel(1, 3, 60)]).counts["shed.failed"] == 1
    outbox.settle([Stored(device="arm", boot=1, below=1)])
    assert outbox.commit([parcel(2, 0, 30)]).counts["stored"] == 1
    assert [p.name.seq for p in held(tmp_path / "outbox.sqlite")] == [2]


def test_numbers_with_gaps_cost_no_more_the_thousandth_time_than_the_first(outbox):
    """Every other number only: what is kept of them is bounded, and so is each commit."""
    outbox = Outbox(outbox._path, 10**9)
    for group in range(2 * RUNS_MAX // 64):
        done = outbox.commit([parcel(2 * (64 * group + i) + 1) for i in range(64)])
    (packed,) = outbox._connection().execute("SELECT LENGTH(runs) FROM marks").fetchone()
    assert packed <= RUNS_MAX * RUN_BYTES
    assert done.counts["forgotten.runs"] == 64
    assert outbox.load().standing.rows == 2 * RUNS_MAX
    assert outbox.knows(parcel(4 * RUNS_MAX - 1).name)
    assert not outbox.knows(parcel(1).name)
    again = outbox.commit([parcel(1)])
    assert (again.acks[0].also, again.counts["duplicates"]) == ((1,), 1), "it still waits"
    outbox.settle([Stored(device="arm", boot=1, below=2)])
    assert outbox.commit([parcel(3)]).counts["duplicates"] == 1
    outbox.settle([Stored(device="arm", boot=1, below=6)])
    assert outbox.commit([parcel(5)]).counts["stored"] == 1, "once more; the cloud knows it"
    assert outbox.commit([parcel(0)]).acks[0].below == 1


def test_one_device_that_joins_a_thousand_times_pushes_out_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("tierloop.edge.boots.BOOTS_MAX", 3)
    outbox = Outbox(tmp_path / "outbox.sqlite", 10**6)
    outbox.commit([parcel(0, device="honest", boot=1)])
    outbox.settle([Stored(device="honest", boot=1, below=1)])
    for boot in range(2, 20):
        outbox.commit([parcel(0, device="other", boot=boot)])
        outbox.settle([Stored(device="other", boot=boot, below=1)])
    assert set(outbox.load().below) == {("honest", 1), *(("other", b) for b in (17, 18, 19))}


def test_boots_and_tiny_parcels_count_towards_the_quota(tmp_path):
    """A parcel of one byte takes a row, a boot a mark: the file stays within its bound."""
    quota = 40_000
    outbox = Outbox(tmp_path / "outbox.sqlite", quota)
    for boot in range(400):
        outbox.commit([parcel(seq, size=1, boot=boot) for seq in range(5)])
    standing, boots = outbox.load().standing, len(outbox.load().below)
    assert standing.rows * ROW_BYTES + boots * MARK_BYTES <= quota
    assert boots < 400
    assert outbox._connection().execute("PRAGMA page_count").fetchone()[0] * 4096 < 6 * quota


def test_boots_long_past_are_forgotten_unless_a_parcel_of_theirs_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("tierloop.edge.boots.BOOTS_MAX", 3)
    outbox = Outbox(tmp_path / "outbox.sqlite", QUOTA)
    outbox.commit([parcel(0, boot=1)])
    for boot in (2, 3, 4, 5):
        done = outbox.commit([parcel(0, boot=boot)])
        outbox.settle([Stored(device="arm", boot=boot, below=1)])
    assert done.forgotten == (("arm", 3),)
    assert done.counts["forgotten.boots"] == 1
    assert [ack.below for ack in done.acks] == [1]
    outbox.close()
    assert set(outbox.load().below) == {("arm", 1), ("arm", 4), ("arm", 5)}
    assert outbox.commit([parcel(0, boot=1)]).counts["duplicates"] == 1
    assert outbox.commit([parcel(0, boot=2)]).counts["stored"] == 1


def bent(path: Path, *, header: bool) -> None:
    """What a failing disk makes of a closed outbox: no database any more, or a malformed one."""
    data = bytearray(path.read_bytes())
    if header:
        data[:100] = b"\xff" * 100
    else:
        data[100:] = b"\xff" * len(data[100:])
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("header", [True, False])
def test_a_damaged_file_is_kept_beside_told_once_and_the_next_load_begins_anew(tmp_path, header):
    path = tmp_path / "outbox.sqlite"
    first = Outbox(path, QUOTA)
    first.commit([parcel(seq) for seq in range(50)])
    first.close()
    bent(path, header=header)
    damaged = path.read_bytes()
    outbox = Outbox(path, QUOTA)
    with pytest.raises(sqlite3.DatabaseError, match=r"not a database|malformed"):
        outbox.load()
    assert path.read_bytes() == damaged
    with pytest.raises(sqlite3.DatabaseError, match=r"damaged .*kept as outbox\.sqlite\.damaged-1"):
        outbox.load()
    assert (tmp_path / "outbox.sqlite.damaged-1").read_bytes() == damaged
    assert outbox.load().standing == (0, 0, 0)
    assert outbox.commit([parcel(50)]).counts["stored"] == 1
    outbox.close()
    bent(path, header=header)
    outbox = Outbox(path, QUOTA)
    for words in ("not a database|malformed", "damaged-2"):
        with pytest.raises(sqlite3.DatabaseError, match=words):
            outbox.load()
    assert (tmp_path / "outbox.sqlite.damaged-1").read_bytes() == damaged


def test_damage_that_is_met_later_is_seen_to_by_the_next_load(tmp_path, monkeypatch):
    outbox = Outbox(tmp_path / "outbox.sqlite", QUOTA)
    outbox.commit([parcel(0)])
    outbox.lend(1)
    malformed = sqlite3.DatabaseError("database disk image is malformed")
    malformed.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    db = outbox._db

    class Malformed:
        in_transaction = False
        close = db.close

        def execute(self, *_):
            raise malformed

    monkeypatch.setattr(outbox, "_db", Malformed())
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        outbox.commit([parcel(1)])
    with pytest.raises(sqlite3.DatabaseError, match=r"kept as outbox\.sqlite\.damaged-1"):
        outbox.load()
    assert outbox.load().standing == (0, 0, 0)
    assert outbox.commit([parcel(1)]).counts["stored"] == 1
    assert [p.name.seq for p in outbox.lend(9)[0]] == [1], "what was lent before is forgotten"
    kept = Outbox(tmp_path / "outbox.sqlite.damaged-1", QUOTA)
    assert [p.name.seq for p in kept.lend(9)[0]] == [0]


@pytest.mark.parametrize(("version", "read"), [(0, True), (1, True), (2, False)])
def test_yesterdays_file_is_read_and_tomorrows_refused(tmp_path, version, read):
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path, QUOTA)
    outbox.commit([parcel(0)])
    outbox.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={version}")
    if read:
        assert Outbox(path, QUOTA).load().standing.rows == 1
    else:
        words = rf"^{path}: the outbox has version 2, but this tierloop reads version 1; use"
        with pytest.raises(UserError, match=words):
            Outbox(path, QUOTA).load()
        with pytest.raises(UserError, match=words):
            build(EdgeConfig(), SPEC, None, tmp_path, 1)
        assert path.exists()


@pytest.mark.parametrize("data", [b"no database", b""])
def test_an_outbox_that_cannot_be_read_keeps_no_edge_from_serving(tmp_path, data):
    (tmp_path / "outbox.sqlite").write_bytes(data)
    build(EdgeConfig(), SPEC, None, tmp_path, 1)
    assert (tmp_path / "outbox.sqlite").read_bytes() == data
