"""Private sockets: one server each, nobody else's folder, nothing left behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tierloop.contract.errors import UserError
from tierloop.link import address
from tierloop.link.address import IPC, private
from tierloop.link.sockets import ClientSocket, ServerSocket, check_free
from tierloop.link.suite import LinkSuite


@pytest.fixture
def key(tmp_path: Path) -> str:
    return str(tmp_path)


def path(place: str) -> Path:
    return Path(place.removeprefix(IPC))


class TestPrivateSockets(LinkSuite):
    @pytest.fixture(autouse=True)
    def _key(self, key: str) -> None:
        self.place = private(key, "edge")

    def make_pair(self):
        server, client = ServerSocket(self.place), ClientSocket(self.place)
        end = time.monotonic() + 5
        while not client.send(b"hi") and time.monotonic() < end:
            time.sleep(0.005)
        while server.receive() is None and time.monotonic() < end:
            time.sleep(0.005)
        return client, server

    def settle(self) -> None:
        time.sleep(0.1)


def test_the_folders_are_their_owners_alone_whatever_the_umask(key):
    before = os.umask(0)
    try:
        folder = path(private(key, "edge")).parent
    finally:
        os.umask(before)
    for each in (folder, folder.parent):
        assert each.stat().st_mode & 0o777 == 0o700
        assert each.stat().st_uid == os.geteuid()
    folder.rmdir()


def test_all_who_ask_for_the_same_find_the_same_and_others_another(key):
    assert private(key, "edge") == private(key, "edge")
    assert len({private(key, "edge"), private(key, "cloud"), private(f"{key}x", "edge")}) == 3


def test_a_place_is_one_servers_and_free_again_afterwards(key):
    place = private(key, "edge")
    check_free(place)
    server = ServerSocket(place)
    for make in (check_free, ServerSocket):
        with pytest.raises(UserError, match="in use; stop the process that serves there"):
            make(place)
    server.close()
    assert not path(place).parent.exists(), "nothing is left"
    ServerSocket(place).close()


def test_what_a_killed_server_left_is_removed_by_the_next_and_its_place_is_free(key):
    place, other = private(key, "edge"), private(f"{key}x", "edge")
    script = (
        "import os; from tierloop.link.sockets import ServerSocket; "
        f"ServerSocket({place!r}); os.abort()"
    )
    subprocess.run([sys.executable, "-c", script], timeout=30, stderr=subprocess.DEVNULL)
    assert path(place).exists()
    alone = path(private(f"{key}y", "edge")).with_suffix(".lock")
    alone.touch()
    living = ServerSocket(other)
    assert not alone.parent.exists(), "a lock without its socket goes too"
    assert not path(place).parent.exists()
    server = ServerSocket(place)
    assert path(other).exists(), "a living server's is left alone"
    server.close()
    living.close()


def test_a_client_finds_a_server_that_comes_later_and_one_that_comes_again(key):
    place = private(key, "edge")
    client = ClientSocket(place)
    assert not client.send(b"nobody is there")
    for _ in range(2):
        server = ServerSocket(place)
        end = time.monotonic() + 10
        while (arrived := server.receive()) is None:
            assert time.monotonic() < end
            client.send(b"hello")
            time.sleep(0.01)
        assert arrived[1] == b"hello"
        server.close()
    client.close()


def test_a_folder_that_others_may_use_is_refused_and_left_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(UserError, match=r"not a private folder: .*tcp://127.0.0.1:PORT"):
        ServerSocket(f"{IPC}{tmp_path}/x.sock")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_place_that_is_another_users_or_a_trap_is_passed_over(key, tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    trap.symlink_to(tmp_path)
    monkeypatch.setattr(address, "_root", lambda: str(trap))
    with pytest.raises(UserError, match=r"cannot make a private folder .* in .*tcp://127"):
        private(key, "edge")


def test_ipv6_loopback_is_served_where_the_host_has_it(address):
    place = address.replace("127.0.0.1", "[::1]")
    try:
        server = ServerSocket(place)
    except UserError as error:
        pytest.skip(str(error))
    client, end = ClientSocket(place), time.monotonic() + 5
    while server.receive() is None:
        assert time.monotonic() < end
        client.send(b"hi")
        time.sleep(0.01)
    client.close()
    server.close()
