"""Loads a deployment: reads the file, then the hardware profiles and the policy that it names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from tierloop.cloud.config import CloudConfig
from tierloop.contract.errors import UserError
from tierloop.device.config import ComputePower
from tierloop.edge.config import EdgeConfig
from tierloop.sim.scenario import policy_spec
from tierloop.stack.config import budget_tables, fault_tables, hardware
from tierloop.stack.config.deployment_file import TIERS, DeploymentFile
from tierloop.stack.config.toml import Source
from tierloop.stack.config.toml_lines import Keys

WATTS_MAX = 1e6
"""No computer of a tier draws more, and microjoules stay within 63 bits."""


class Deployment(DeploymentFile, frozen=True, kw_only=True):
    """What runs, and what a record keeps. `resolve` and `load` make it from a DeploymentFile.

    It states the watts of the computer of every tier, and all its paths are absolute. Raises
    ValueError if watts are missing.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        computers: dict[str, ComputePower | EdgeConfig | CloudConfig] = {
            "device.compute": self.device.compute, "edge": self.edge, "cloud": self.cloud,
        }  # fmt: skip
        for name, table in computers.items():
            if table.idle_w is None or table.busy_w is None:
                raise ValueError(f"{name} does not say its watts: resolve the file first")


class _Unfit(UserError):
    """What a deployment says under `keys` cannot be."""

    def __init__(self, keys: Keys, detail: object) -> None:
        super().__init__(f"key '{keys[-1]}' in [{'.'.join(keys[:-1])}]: {detail}")
        self.keys = keys


def load(path: Path, options: Sequence[str] = (), more_faults: Path | None = None) -> Deployment:
    """Loads the deployment file in `path`, with the `--set` options applied to it.

    Adds the faults in the file `more_faults`. Raises UserError in one line, which
    names the file, the line and the key.
    """
    source = Source(path, options)
    file = _read(source, more_faults)
    try:
        deployment = resolve(file, path.parent)
        _check_initial(deployment)
    except _Unfit as error:
        raise UserError(f"{source.where(error.keys)}: {error}") from None
    return deployment


def resolve(file: DeploymentFile, folder: Path = Path()) -> Deployment:
    """Makes the deployment that follows from a file in `folder`.

    Reads the hardware profile of each tier, takes from it the watts that the file does not state,
    and makes paths absolute. Raises UserError if a profile cannot be read or watts are impossible.
    """
    found = {name: getattr(file, name) for name in file.__struct_fields__}
    for name in TIERS:
        hardware_name = found[name].hardware
        if hardware.is_path(hardware_name):
            hardware_name = str(folder.absolute() / hardware_name)
        found[name] = msgspec.structs.replace(found[name], hardware=hardware_name)
        try:
            profile = hardware.load(hardware_name)
        except UserError as error:
            raise _Unfit((name, "hardware"), error) from None
        if name == "device":
            compute = _powered(found[name].compute, profile, ("device", "compute"))
            found[name] = msgspec.structs.replace(found[name], compute=compute)
        else:
            found[name] = _powered(found[name], profile, (name,))
    if file.policy.initial:
        initial = str(folder.absolute() / file.policy.initial)
        found["policy"] = msgspec.structs.replace(file.policy, initial=initial)
    return Deployment(**found)


_Powered = TypeVar("_Powered", ComputePower, EdgeConfig, CloudConfig)


def _powered(table: _Powered, profile: hardware.Profile, keys: Keys) -> _Powered:
    """The table with the profile's watts where it says none."""
    idle_w = profile.idle_w.value if table.idle_w is None else table.idle_w
    busy_w = profile.busy_w.value if table.busy_w is None else table.busy_w
    if not 0 <= idle_w <= busy_w:
        said = "busy_w" if table.idle_w is None else "idle_w"
        detail = f"idle_w {idle_w:g} must lie between 0 and busy_w {busy_w:g}"
        raise _Unfit((*keys, said), detail)
    if busy_w > WATTS_MAX:
        raise _Unfit((*keys, "busy_w"), f"busy_w {busy_w:g} is above {WATTS_MAX:g}")
    return msgspec.structs.replace(table, idle_w=idle_w, busy_w=busy_w)


def _read(source: Source, more_faults: Path | None) -> DeploymentFile:
    """What the file says; the entries of its lists are checked one by one."""
    apart = ("fault", "budget")
    own, source.data = source.data, {k: v for k, v in source.data.items() if k not in apart}
    file = source.convert(DeploymentFile)
    source.data = own
    robots, lasts_s = file.scenario.robots, file.run.duration_s
    faults = fault_tables.read(source, robots, lasts_s)
    faults += fault_tables.load(more_faults, robots, lasts_s) if more_faults else ()
    budgets = tuple(budget for budget, _ in budget_tables.read(source))
    return msgspec.structs.replace(file, fault=faults, budget=budgets)


def _check_initial(deployment: Deployment) -> None:
    """Raises UserError if the policy to begin with is none, or does not fit the robots."""
    if not deployment.policy.initial:
        return
    from tierloop.stack.config.initial_policy import check

    try:
        check(Path(deployment.policy.initial), policy_spec(deployment.scenario))
    except UserError as error:
        raise _Unfit(("policy", "initial"), error) from None
