"""Holds the house to its plan, a line for each rule: `python tests/house/house.py [CHECKOUT]`.

Circles of modules; arrows up, by the layers that pyproject.toml gives to import-linter; the largest
folder; modules side by side; modules whose first line does not say what is in the room; classes and
types of one name in two modules.
"""

import ast
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import grimp

PERCENT_OF_THE_CODE = 30
MODULES_SIDE_BY_SIDE = 24
TWICE = {
    "T": "the variable of a generic type",
    "Work": "hot_worker.py runs by its path, in checkouts of any age: it imports the tiers alone",
}
"""Names of classes and types that two modules may have, and why."""


def circles(graph: grimp.ImportGraph) -> list[str]:
    """Each set of modules that import one another, directly or by way of others."""
    below = {module: graph.find_upstream_modules(module) for module in graph.modules}
    found = {frozenset({m} | {n for n in below[m] if m in below[n]}) for m in below}
    return sorted(" <-> ".join(sorted(circle)) for circle in found if len(circle) > 1)


def arrows_up(graph: grimp.ImportGraph, project: Path) -> list[str]:
    """Each room that imports one of a layer above, or one beside it."""
    rules = tomllib.loads(project.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    return sorted(
        f"{arrow.importer} -> {arrow.imported}"
        for rule in rules
        if rule["type"] == "layers"
        for arrow in graph.find_illegal_dependencies_for_layers(
            layers=[grimp.Layer(*line.split(" | ")) for line in rule["layers"]],
            containers=set(rule["containers"]),
        )
    )


def namesakes(texts: dict[str, str]) -> list[str]:
    """Each public class or type whose name stands in two modules or more, for a reader of both."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for file, text in texts.items():
        for node in ast.parse(text).body:
            match node:
                case (
                    ast.ClassDef(name=name)
                    | ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ) if (
                    name[0].isupper() and (len(name) == 1 or not name.isupper()) and "_" not in name
                ):
                    homes[name].append(file)
    return [
        f"{name}: {', '.join(files)}"
        for name, files in sorted(homes.items())
        if len(files) > 1 and name not in TWICE
    ]


def judged(root: Path) -> dict[str, list[str]]:
    """For each rule a line to print, and what breaks the rule."""
    folders = [file.parent for file in root.glob("*/__init__.py")]
    files = {file.resolve() for folder in folders for file in folder.rglob("*.py")}
    texts = {str(file.relative_to(root)): file.read_text("utf-8") for file in sorted(files)}
    lines: Counter[str] = Counter()
    for name, text in texts.items():
        lines[name.split("/")[0]] += len(text.splitlines())
    share = {folder: 100 * count / lines.total() for folder, count in lines.most_common()}
    beside = Counter(str(Path(name).parent) for name in texts if not name.endswith("/__init__.py"))
    largest, fullest = max(share, key=share.__getitem__), max(beside, key=beside.__getitem__)
    sys.path.insert(0, str(root))
    graph = grimp.build_graph("tierloop", cache_dir=None)
    up, round_about = arrows_up(graph, root / "pyproject.toml"), circles(graph)
    twice = namesakes(texts)
    untold = [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))]
    return {
        f"circles {len(round_about)}": round_about,
        f"arrows up {len(up)}": up,
        f"largest folder {largest}/, {share[largest]:.0f} % of the code ({PERCENT_OF_THE_CODE} %"
        " at most)": [name for name, percent in share.items() if percent > PERCENT_OF_THE_CODE],
        f"modules side by side {beside[fullest]}, in {fullest}/ ({MODULES_SIDE_BY_SIDE} at most)": [
            name for name, count in beside.items() if count > MODULES_SIDE_BY_SIDE
        ],
        f"modules without a first line {len(untold)}": untold,
        f"classes of one name {len(twice)}": twice,
    }


def main(root: Path) -> int:
    """Prints each rule, and below it what breaks it; returns 1 if anything does."""
    rules = judged(root)
    for rule, broken in rules.items():
        print("\n    ".join([rule, *broken]))
    return 1 if any(rules.values()) else 0


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:]).resolve()))
