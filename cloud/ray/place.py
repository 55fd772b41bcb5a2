"""Chooses folder, object store and environment for a Ray cluster that we start ourselves."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from tierloop.cloud.config import CloudConfig
from tierloop.cloud.scratch import Scratch, first, free_bytes, takes_sockets

SOCKETS = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""What Ray adds to its folder for the longest of its sockets."""

SHARED = Path("/dev/shm")
"""Where Ray's object store is fast."""

_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")


class RayPlace:
    """The folder of a cluster of our own, from `arguments` until `close`."""

    def __init__(self, config: CloudConfig, state: Path) -> None:
        """`state` is where Ray may keep its files, if its sockets fit there."""
        self._config, self._state = config, state
        self._folder: Path | None = None
        self._scratch: Scratch | None = None

    def arguments(self) -> tuple[dict[str, Any], str]:
        """The arguments of ray.init for a cluster of our own, and what is to be said of its place.

        Raises OSError if the machine has no place for it.
        """
        wanted, folder = (self._state / "ray").absolute(), self._made()
        said = (
            [] if folder == wanted else [f"{wanted} takes no sockets of Ray; they lie in {folder}"]
        )
        needed = self._config.object_store_mb * 2**20
        store = next((at for at in (SHARED, folder) if free_bytes(at) >= needed), None)
        if store is None:
            free = ", ".join(f"{at}: {free_bytes(at) >> 20} MiB free" for at in (SHARED, folder))
            raise OSError(
                f"no room for Ray's object store of {self._config.object_store_mb} MiB ({free}); "
                "free some, or lower cloud.object_store_mb"
            )
        if store is not SHARED:
            said.append(
                f"{SHARED} has no room for Ray's object store; it lies in {folder}, which is slower"
            )
        where = {
            "num_cpus": self._config.workers,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": needed,
            "_plasma_directory": str(store),
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": str(folder),
            "_system_config": {"worker_niceness": 0},
        }
        return where, "; ".join(said)

    def _made(self) -> Path:
        """An empty private folder for Ray: under the state, or where its sockets fit."""
        wanted = (self._state / "ray").absolute()
        shutil.rmtree(wanted, ignore_errors=True)
        with contextlib.suppress(OSError):
            wanted.mkdir(parents=True, mode=0o700)
            if takes_sockets(wanted, SOCKETS):
                self._folder = wanted
                return wanted
            wanted.rmdir()
        self._scratch = first(lambda folder: takes_sockets(folder, SOCKETS))
        return self._scratch.path

    def close(self) -> None:
        """Deletes the folder and all in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._scratch is not None:
            self._scratch.close()
        self._folder = self._scratch = None


def environment() -> dict[str, str]:
    """The environment of a cluster of our own: Ray reads nothing of what the user's shell says.

    Token on, loopback only, no reports home:
    https://docs.ray.io/en/latest/ray-security/token-auth.html; with clustering off, Ray keeps
    127.0.0.1 as the node's address and every server of it listens there alone.
    """
    foreign = ("RAY_", *_PROXIES, *(name.upper() for name in _PROXIES))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_AUTH_MODE": "token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
