"""The grid of a sweep: every combination of the swept values, with every seed, checked at once."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import msgspec

from tierloop.contract.errors import UserError
from tierloop.contract.version import __version__
from tierloop.stack.config import hardware
from tierloop.stack.config.deployment import Deployment, load

FIXED = ("run.until_success=0",)
"""A run of a sweep lasts its whole duration: one that ends on success would flatter its rate."""

_VALUE = r'(?:\[[^\]]*\]|\{[^}]*\}|"[^"]*"|\'[^\']*\'|[^,\[\]{}"\'])+'
_VALUES = re.compile(f"{_VALUE}(?:,{_VALUE})*")


class Axis(NamedTuple):
    """A swept key and its values as they were written."""

    key: str
    values: tuple[str, ...]

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as numbers, if all of them are."""
        try:
            return tuple(float(value) for value in self.values)
        except ValueError:
            return None


class GridCell(NamedTuple):
    """One run: `values` of the axes in their order, and the deployment they make with the seed."""

    values: tuple[str, ...]
    deployment: Deployment
    name: str
    command: str

    @property
    def seed(self) -> int:
        return self.deployment.seed


class Grid(NamedTuple):
    """All runs of a sweep, seeds of one combination side by side."""

    axes: tuple[Axis, ...]
    cells: tuple[GridCell, ...]


def axis(option: str) -> Axis:
    """What `--over KEY=a,b,c` says. A list's own commas do not divide. Raises UserError."""
    key, separator, text = option.partition("=")
    key = key.strip()
    if not separator or not key or not _VALUES.fullmatch(text.strip()):
        raise UserError(
            f"--over {option}: expected KEY=VALUE,VALUE, as in links.device.delay_ms=0,50"
        )
    values = tuple(value.strip() for value in re.findall(_VALUE, text))
    if not all(values):
        raise UserError(f"--over {option}: a value is empty")
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"--over {option}: {value} is given twice")
    if key == "seed":
        raise UserError("--over seed: use --seeds to set the number of seeds")
    return Axis(key, values)


def grid(path: Path, over: Sequence[str], seeds: int, sets: Sequence[str]) -> Grid:
    """The grid on the deployment in `path`; seeds count up from the deployment's own.

    Raises UserError, in one line, if a combination makes no deployment.
    """
    axes = tuple(axis(option) for option in over)
    keys = [a.key for a in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"--over {key}: the key is given twice")
    cells = []
    for values in product(*(a.values for a in axes)):
        options = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
        options = [*FIXED, *sets, *options]
        first = _load(path, options, keys)
        if first.seed + seeds > 2**63:
            raise UserError(f"--seeds {seeds}: from seed {first.seed} on, there are fewer seeds")
        for seed in range(first.seed, first.seed + seeds):
            deployment = msgspec.structs.replace(first, seed=seed)
            cells.append(
                GridCell(values, deployment, name(deployment), command(path, seed, options))
            )
    return Grid(axes, tuple(cells))


def _load(path: Path, options: Sequence[str], keys: Sequence[str]) -> Deployment:
    try:
        return load(path, options)
    except UserError as error:
        said = str(error)
        for key in keys:
            said = re.sub(rf"^--set {re.escape(key)}\b", f"--over {key}", said)
        raise UserError(said) from None


def command(path: Path, seed: int, options: Sequence[str]) -> str:
    """The command that does one run of a sweep again, with its whole record."""
    sets = [word for option in options for word in ("--set", option)]
    words = ["tierloop", "run", str(path), "--clock", "virtual", "--seed", str(seed), *sets]
    return shlex.join(words)


def name(deployment: Deployment) -> str:
    """A function of all that a run is made of: the settings, and the content of files they name."""
    whole = hashlib.sha256(__version__.encode())
    whole.update(msgspec.json.encode(deployment))
    tiers = (deployment.device, deployment.edge, deployment.cloud)
    files = [tier.hardware for tier in tiers if hardware.is_path(tier.hardware)]
    for file in (deployment.policy.initial, *files):
        whole.update(Path(file).read_bytes() if file else b"")
    return whole.hexdigest()[:20]
