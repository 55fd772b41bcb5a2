"""A folder is one run's while it lives, whoever came at the same instant."""

import pytest
from records import deployment, fill, short_run

from tierloop.contract.errors import UserError
from tierloop.stack.record.claim import Claim, fresh_folder, under_way
from tierloop.stack.record.folder import claim, prepare
from tierloop.stack.record.reserve import Reserve
from tierloop.stack.wall.run import Run
from tierloop.views.finish import join


def test_of_two_runs_that_saw_the_same_empty_folder_one_has_it(tmp_path):
    made = deployment()
    prepare(tmp_path / "run", made)
    prepare(tmp_path / "run", made)
    held = claim(tmp_path / "run", made, ("device", "edge", "cloud"))
    with pytest.raises(
        UserError, match="another process is running its edge already; choose another --out"
    ):
        claim(tmp_path / "run", made, ("edge",))
    held.close()
    claim(tmp_path / "run", made, ("edge",)).close()


def test_tiers_of_one_deployment_share_a_folder(tmp_path):
    held = [Claim(tmp_path, [role]) for role in ("device", "edge", "cloud")]
    assert under_way(tmp_path)
    for one in held:
        one.close()
    assert not under_way(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_recorded_meanwhile_is_not_written_over(tmp_path):
    fill(tmp_path, short_run())
    with pytest.raises(UserError, match=r"already contains a run; choose another --out"):
        claim(tmp_path, deployment(), ("device",))


def test_a_run_that_is_still_going_is_not_joined(tmp_path):
    fill(tmp_path, short_run())
    held = Claim(tmp_path, ["device"])
    with pytest.raises(UserError, match="has not ended yet"):
        join(tmp_path)
    held.close()
    assert join(tmp_path)["robots"] == ["arm-0", "arm-1"]


def test_two_runs_in_one_second_get_two_folders_and_what_stays_empty_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with fresh_folder("cell") as first, fresh_folder("cell") as second, fresh_folder("cell"):
        assert first != second
        (first / "kept").touch()
        assert len(list((tmp_path / "runs").iterdir())) == 3
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [first.name]


def test_a_place_where_no_folder_can_be_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(UserError, match=r"runs/cell-.*; choose another --out"),
        fresh_folder("cell"),
    ):
        pass


def test_a_run_that_does_not_begin_gives_back_what_it_held(tmp_path, monkeypatch):
    def no_room(*_):
        raise UserError("no place for sockets")

    monkeypatch.setattr("tierloop.stack.wall.run.table", no_room)
    monkeypatch.setattr("tierloop.stack.wall.run.Signals", lambda: None)
    with pytest.raises(UserError, match="no place"):
        Run(deployment(), ("device",), tmp_path / "run", None)
    assert not under_way(tmp_path / "run")
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_the_room_of_a_killed_run_is_given_back_by_its_report(tmp_path):
    fill(tmp_path, short_run())
    Reserve(tmp_path)
    assert list(tmp_path.glob(".reserve-*"))
    held = Claim(tmp_path, ["device"])
    with pytest.raises(UserError, match="has not ended yet"):
        join(tmp_path)
    assert list(tmp_path.glob(".reserve-*"))
    held.close()
    join(tmp_path)
    assert not list(tmp_path.glob(".reserve-*"))
