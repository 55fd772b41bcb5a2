"""What a stranger's ONNX file says of itself, read from its bytes before a runtime sees them.

Any operator will do, but for those with a memory; weights lie in the file or beside it.
"""

import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from tierloop.contract.errors import UserError
from tierloop.policy.artefact import ArtefactError
from tierloop.policy.graph import fields

FIELDS_MAX = 1_000_000
"""Fields of all messages in a file: some ten times what a large model has."""

_MEMORY = re.compile(r".*(RNN|GRU|LSTM)$")
"""Operators whose state begins at zero in every call."""

_LISTS = re.compile(r"(joint|observation|obs|action)s?_(names|labels|order)")
_UNIT = re.compile(r"_(rad|rad_s|m|m_s|nm|n|kg|s)$")

_TREE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "weights"},
    "entry": {1: "key", 2: "value"},
    "weights": {1: "key", 2: "value"},
}
"""Messages by the field that holds them, as onnx.proto numbers them."""


class About(NamedTuple):
    """Operators of all graphs in it, metadata by key, files that its weights are said to be in."""

    operators: frozenset[str]
    metadata: dict[str, str]
    locations: frozenset[str]


def read(path: Path, data: bytes) -> About:
    """Walks the whole file. Raises UserError for what is no ONNX or has no end."""
    operators: set[str] = set()
    metadata: dict[str, str] = {}
    locations: set[str] = set()
    waiting, left = [("model", memoryview(data))], FIELDS_MAX
    try:
        while waiting:
            kind, content = waiting.pop()
            pair = {"key": "", "value": ""}
            for number, value in fields(content):
                left -= 1
                name = _TREE[kind].get(number)
                if left < 0:
                    raise ArtefactError("graph", f"more than {FIELDS_MAX} fields")
                if name is None or isinstance(value, int):
                    continue
                if name in _TREE:
                    waiting.append((name, value))
                elif name == "operator":
                    operators.add(str(value, "utf-8"))
                else:
                    pair[name] = str(value, "utf-8")
            if kind == "entry":
                metadata[pair["key"]] = pair["value"]
            elif pair["key"] == "location":
                locations.add(pair["value"])
    except (ArtefactError, IndexError, UnicodeDecodeError) as error:
        said = str(error) if isinstance(error, ArtefactError) else "not a protobuf file"
        raise UserError(f"{path}: not a usable policy: {said}") from None
    return About(frozenset(operators), metadata, frozenset(locations))


def require_no_memory(path: Path, about: About) -> None:
    """Raises UserError, with the word stateful, for an operator that remembers."""
    if found := sorted(filter(_MEMORY.match, about.operators)):
        raise UserError(
            f"{path}: stateful policies are not supported: the state of its {found[0]} would be "
            "lost after every decision"
        )


def weigh(path: Path, about: About) -> int:
    """Bytes of the weights beside the file. Raises UserError for any that lie elsewhere."""
    folder, total = path.parent.resolve(), 0
    for location in sorted(about.locations):
        shown = location if len(location) < 100 else f"{location[:100]}…"
        if Path(location).is_absolute() or ".." in Path(location).parts:
            raise UserError(f"{path}: weights in '{shown}': must lie in the folder of the file")
        try:
            file = (folder / location).resolve()
            whole = file.is_file()
        except (OSError, ValueError):
            whole = False
        if not whole:
            raise UserError(f"{path}: weights in '{shown}': no such file in its folder")
        if not file.is_relative_to(folder):
            raise UserError(f"{path}: weights in '{shown}': this link leads out of the folder")
        total += file.stat().st_size
    return total


def require_names(path: Path, about: About, labels: dict[str, tuple[str, ...]]) -> None:
    """Raises UserError unless what its metadata names is what is there, in the same order.

    `labels`: by "joint", "observation" and "action". A name may leave the unit out.
    """
    for key, text in sorted(about.metadata.items()):
        if not (of := _LISTS.fullmatch(key.lower())):
            continue
        kind = "observation" if of[1] == "obs" else of[1]
        named, have = _names(path, key, text), labels[kind]
        unknown = [n for n in named if not any(_alike(n, label) for label in have)]
        if unknown:
            raise UserError(
                f"{path}: {key}: the body has no {_said(unknown)}; it has {_said(have)}"
            )
        if len(named) != len(have) or not all(map(_alike, named, have)):
            raise UserError(
                f"{path}: {key} is {_said(named)}; export the policy in the order of the body: "
                f"{_said(have)}"
            )


def _names(path: Path, key: str, text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [name.strip() for name in text.split(",")]
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        raise UserError(f"{path}: {key} is not a list of names: {text[:100]!r}") from None


def _alike(name: str, label: str) -> bool:
    return name in (label, _UNIT.sub("", label))


def _said(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(name[:40] for name in names[:8]) + (", …" if len(names) > 8 else "")
