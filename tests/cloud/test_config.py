"""What a deployment may ask of the cloud: nothing that no host has, and no stranger's cluster."""

import pytest

from tierloop.cloud.config import CloudConfig, LearnerConfig


@pytest.mark.parametrize("hidden", [(4096, 4096, 4096), (1500, 1500), (1,) * 16, (1,) * 100_000])
def test_a_network_that_no_host_has_room_for_is_refused(hidden):
    with pytest.raises(ValueError, match=f"hidden has {len(hidden)} layers and .* at most 15 and"):
        LearnerConfig(hidden=hidden)


@pytest.mark.parametrize("hidden", [(256, 256), (1000, 2000), (4096,), (8,) * 15])
def test_a_network_that_fits_is_taken(hidden):
    assert LearnerConfig(hidden=hidden).hidden == hidden


def test_a_gate_that_could_never_release_is_refused():
    with pytest.raises(ValueError, match=r"8 gate_episodes can release nothing .* at least 9"):
        LearnerConfig(gate_episodes=8)
    assert LearnerConfig(gate_episodes=9).gate_episodes == 9
    assert LearnerConfig(gate_episodes=1, gate_p=0.9).gate_episodes == 1


@pytest.mark.parametrize(
    "address", ["any.host:6379", "10.0.0.5:6379", "0.0.0.0:6379", "[::]:6379", "ray://1.2.3.4:1"]
)
def test_a_cluster_beyond_this_host_is_refused(address):
    with pytest.raises(ValueError, match="only a cluster on loopback is joined without keys"):
        CloudConfig(ray=address)


@pytest.mark.parametrize("address", ["locale", ":6379", "127.0.0.1:", "127.0.0.1:x", "a:70000"])
def test_what_is_no_address_is_refused_by_that_word(address):
    with pytest.raises(ValueError, match="choose local, auto, none or HOST:PORT"):
        CloudConfig(ray=address)


@pytest.mark.parametrize(
    "address",
    ["local", "auto", "none", "127.0.0.1:6379", "localhost:1", "[::1]:6379", "ray://127.0.0.1:1"],
)
def test_a_cluster_on_this_host_is_taken(address):
    assert CloudConfig(ray=address).ray == address
