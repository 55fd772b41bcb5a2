"""A record that is cut or bent: told with its place, what follows is read, no promise is broken."""

import random

import msgspec
import pytest
from records import S, fill, report, short_run

from tierloop.cli.replay import tell
from tierloop.cli.run import run_code, warnings
from tierloop.cloud.store import Store
from tierloop.contract.errors import UserError
from tierloop.contract.messages import Report
from tierloop.exit_codes import ExitCode
from tierloop.stack.record import reports
from tierloop.stack.record.damage import Damage
from tierloop.stack.record.disks import CLOUD_STORE, EDGE_JOURNAL, EDGE_OUTBOX
from tierloop.views.finish import join


@pytest.fixture
def three(tmp_path):
    """The part of one robot that reported thrice; its bytes, and where each report begins."""
    written, starts = reports.PartFiles(tmp_path), []
    path = tmp_path / "arm-0.reports"
    for at_s in (1, 2, 3):
        starts.append(path.stat().st_size if path.exists() else 0)
        written.append(report("arm-0", "device", at_s, counters={"ticks": float(at_s)}))
    return path, path.read_bytes(), starts


def scanned(path):
    found = list(reports.scan(path.parent))
    damage = [one for one in found if isinstance(one, Damage)]
    return [r.at_ns // S for r in found if isinstance(r, Report)], damage


def test_every_bent_byte_costs_its_report_alone(three):
    path, whole, (_, second, third) = three
    for at in range(second, third):
        bent = bytearray(whole)
        bent[at] ^= 0x20
        path.write_bytes(bent)
        lost = Damage(path.name, "", second, third - second, 1 * S, 3 * S)
        told, (damage,) = scanned(path)
        assert (told, damage._replace(file=path.name, why="")) == ([1, 3], lost), at


def test_what_is_cut_from_the_end_is_told(three):
    path, whole, (_, _, third) = three
    for end in (third + 1, third + 3, third + 4, third + 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        told, (damage,) = scanned(path)
        assert told == [1, 2]
        assert (damage.at_byte, damage.size_bytes) == (third, end - third)
        assert (damage.after_ns, damage.before_ns) == (2 * S, None)


def test_what_is_cut_from_the_middle_or_put_there_is_told(three):
    path, whole, (_, second, _) = three
    cuts = [whole[: second + 5] + whole[second + 40 :], whole[:second] + bytes(99) + whole[second:]]
    for bent, kept in zip([*cuts, whole[7:]], ([1, 3], [1, 2, 3], [2, 3]), strict=True):
        path.write_bytes(bent)
        told, damage = scanned(path)
        assert told == kept
        assert len(damage) == 1


def test_a_bent_report_breaks_no_promise_and_is_told(tmp_path):
    reports = short_run()
    counted = {"ticks.due": 9.0, "ticks": 4.0, "missed": 0.0}
    reports.insert(2, report("arm-0", "device", 105, counters=counted))
    fill(tmp_path, reports)
    assert run_code(join(tmp_path), interrupted=False) == 0
    path = tmp_path / "parts" / "arm-0.reports"
    bent = bytearray(path.read_bytes())
    bent[-40] ^= 1  # now the last whole report of arm-0 is the one that counts wrongly
    path.write_bytes(bent)
    summary = join(tmp_path)
    assert summary["ticks"]["n"] < 4800
    assert "ticks_uncounted" in summary["invariants"], "what the whole reports prove stays"
    assert {"stale_action", "conservation"} <= set(summary["not_judged"])
    assert not {"exactly_once", "nothing_altered"} & set(summary["not_judged"])
    (damage,) = summary["damaged"]
    assert (damage["file"], damage["from_s"], damage["to_s"]) == ("parts/arm-0.reports", 5.0, 10.0)
    assert any("parts/arm-0.reports at byte" in words for words in warnings(summary))
    summary["invariants"] = {}
    assert run_code(summary, interrupted=False) == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("file", "unsure"),
    [
        (
            CLOUD_STORE,
            {"exactly_once", "nothing_acked_lost", "nothing_altered", "books_balanced"},
        ),
        (EDGE_OUTBOX, {"nothing_acked_lost", "books_balanced"}),
        (EDGE_JOURNAL, {"version_regress"}),
    ],
)
@pytest.mark.parametrize("content", [b"garbage" * 999, b"\xff\xfe", b"[" * 5000])
def test_a_store_that_cannot_be_read_is_told_and_what_rests_on_it_not_judged(
    tmp_path, file, unsure, content, undrawn
):
    fill(tmp_path, short_run())
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(content)
    summary = join(tmp_path)
    assert [damage["file"] for damage in summary["damaged"]] == [str(file)]
    assert set(summary["not_judged"]) == unsure
    assert not any(summary["invariants"].values())
    assert not summary["experience"]["checked"]
    assert run_code(summary, interrupted=False) == ExitCode.INCONCLUSIVE
    (words,) = warnings(summary)
    assert words.startswith(f"damaged: {file}: ")


def test_a_bent_page_of_the_cloud_s_store_is_told(tmp_path, undrawn):
    fill(tmp_path, short_run())
    Store(tmp_path / CLOUD_STORE).close()
    store = tmp_path / CLOUD_STORE
    bent = bytearray(store.read_bytes())
    bent[4096 : 2 * 4096] = bytes(4096)
    store.write_bytes(bent)
    assert [damage["file"] for damage in join(tmp_path)["damaged"]] == [str(CLOUD_STORE)]


@pytest.fixture
def undrawn(monkeypatch):
    """A record is joined without its page: nine tenths of a join are its charts."""
    monkeypatch.setattr("tierloop.views.finish.render", lambda *_: "")


def refusal(read) -> str:
    try:
        read()
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["deployment.json", "parts/arm-0.reports", "summary.json"])
def test_no_bytes_of_a_record_raise_anything_but_one_line(tmp_path, name, undrawn, capsys):
    fill(tmp_path, short_run())
    join(tmp_path)
    whole, chance = (tmp_path / name).read_bytes(), random.Random(1)
    odd = [b"", b"\xff" * 9, b"[" * 9999, b'{"a":' * 9999, whole.upper(), whole[::-1]]
    for _ in range(8):
        bent = bytearray(whole)
        bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
        odd += [bytes(bent), whole[: chance.randrange(len(whole))]]
    for content in odd:
        (tmp_path / name).write_bytes(content)
        for read in (lambda: tell(tmp_path, None, 0.0, None, None), lambda: join(tmp_path)):
            said = refusal(read)
            assert not said or (str(tmp_path) in said and "\n" not in said)


def test_a_bent_deployment_names_its_file_whatever_is_bent(tmp_path):
    fill(tmp_path, short_run())
    path = tmp_path / "deployment.json"
    text = path.read_text().replace('"orin-nx"', '"orim-nx"')
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(UserError, match=r"deployment\.json: unknown hardware 'orim-nx'.*damaged"):
        join(tmp_path)


def test_yesterdays_record_is_read(tmp_path, undrawn):
    """A part is as it was: behind its length each report, as the codec packs it."""
    from tierloop.contract.codec import Codec

    fill(tmp_path, [])
    (tmp_path / "parts").mkdir(exist_ok=True)
    for one in short_run():
        body = Codec().encode(one)
        with (tmp_path / "parts" / f"{one.process}.reports").open("ab") as part:
            part.write(len(body).to_bytes(4, "little") + body)
    summary = join(tmp_path)
    assert summary["ticks"]["n"] == 4800
    assert summary["damaged"] == []
    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes())["lacks"] == []
