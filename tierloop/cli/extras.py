"""The extras of the package: the libraries that each brings, and what to do if one is missing."""

from importlib.util import find_spec

from tierloop.contract.errors import UserError

NEEDS: dict[str, tuple[str, ...]] = {
    "device": ("numpy", "msgspec", "pyzmq", "psutil"),
    "sim": ("pybullet", "gymnasium"),
    "edge": ("onnxruntime",),
    "cloud": ("ray", "torch", "onnx"),
    "report": ("matplotlib", "jinja2", "pyarrow"),
    "bench": ("scipy",),
}
"""Distributions by the extra that brings them; those of `device` every role needs."""


def remedy(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'tierloop[{extra}]'"


def lacking(module: str) -> str:
    """A line that says which extra brings a missing module; empty if none does."""
    top = module.partition(".")[0]
    brings = [extra for extra, needed in NEEDS.items() if top in needed]
    return f"{module} is needed for this: {remedy(brings[0])}" if brings else ""


def require(*extras: str) -> None:
    """Raises UserError in one line if a library that one of these extras brings is missing."""
    for library in (library for extra in extras for library in NEEDS[extra]):
        if find_spec(library) is None:
            raise UserError(lacking(library))
