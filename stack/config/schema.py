"""The JSON Schema of a deployment file, for editors and other tools."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import msgspec

from tierloop.stack.config.deployment_file import DeploymentFile


def schema() -> bytes:
    """The schema, formatted, with each field's sentence as its description."""
    document: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    document |= msgspec.json.schema(DeploymentFile)
    for table in _tables(DeploymentFile):
        properties = document["$defs"][table.__name__]["properties"]
        for name, sentence in _sentences(table):
            properties[name]["description"] = sentence
        if tag := table.__struct_config__.tag_field:
            properties[tag]["description"] = "Says which table this is."
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _tables(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Every struct in a type, those of lists and unions too."""
    for part in get_args(kind):
        yield from _tables(part)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from _tables(field.type)


def _sentences(table: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Fields and the strings that stand under them in the source of the class and its bases."""
    for base in table.__bases__:
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            yield from _sentences(base)
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    assert isinstance(definition, ast.ClassDef)
    for field, below in pairwise(definition.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(sentence))),
            ):
                yield name, inspect.cleandoc(sentence).replace("\n", " ")
