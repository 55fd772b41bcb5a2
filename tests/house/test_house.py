"""The check of the house fails on what is planted in a small house that has its layers."""

import subprocess
import sys

import pytest
from wheels import ROOT

RULES = """
[[tool.importlinter.contracts]]
type = "layers"
containers = ["tierloop"]
layers = ["views", "edge | device", "contract"]
"""
FILES = {
    **{f"{room}/__init__.py": '"""A room."""\n' for room in ("contract", "edge", "device")},
    "contract/specs.py": '"""Specs."""\n',
    "edge/node.py": '"""The edge."""\nimport tierloop.contract.specs\n',
    "device/node.py": '"""The device."""\nimport tierloop.contract.specs\n',
    "tierloop/__init__.py": '"""The roof."""\n',
    "tierloop/views.py": '"""Views."""\nimport tierloop.edge.node\n',
}


@pytest.fixture
def house(tmp_path):
    def check(planted):
        for name, text in (FILES | planted).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "pyproject.toml").write_text(RULES)
        for room in ("contract", "edge", "device"):
            (tmp_path / "tierloop" / room).symlink_to(f"../{room}")
        done = subprocess.run(
            [sys.executable, "-P", ROOT / "tests" / "house" / "house.py", tmp_path],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stderr == ""
        return done.returncode, done.stdout

    return check


def test_a_house_in_order_passes_and_says_its_figures(house):
    code, said = house({})
    assert said.splitlines() == [
        "circles 0",
        "arrows up 0",
        "largest folder device/, 27 % of the code (30 % at most)",
        "modules side by side 1, in contract/ (24 at most)",
        "modules without a first line 0",
        "classes of one name 0",
    ]
    assert code == 0


SPECS = '"""Specs."""\n'


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            {
                "contract/specs.py": SPECS + "def f():\n    import tierloop.contract.bounds\n",
                "contract/bounds.py": '"""Bounds."""\nimport tierloop.contract.specs\n',
            },
            "circles 1\n    tierloop.contract.bounds <-> tierloop.contract.specs\n",
        ),
        (
            {"contract/specs.py": SPECS + "import tierloop.edge\n"},
            "arrows up 1\n    tierloop.contract -> tierloop.edge\n",
        ),
        (
            {"device/node.py": '"""The device."""\nimport tierloop.edge.node\n'},
            "arrows up 1\n    tierloop.device -> tierloop.edge\n",
        ),
        (
            {"edge/node.py": '"""The edge."""\n' + "x = 1\n" * 20},
            "largest folder edge/, 73 % of the code (30 % at most)\n    edge\n",
        ),
        (
            {f"edge/node_{n}.py": '"""A node."""\n' for n in range(24)},
            "modules side by side 25, in edge/ (24 at most)\n    edge\n",
        ),
        (
            {"edge/node.py": "import tierloop.contract.specs\n"},
            "modules without a first line 1\n    edge/node.py\n",
        ),
        (
            {
                "edge/node.py": '"""The edge."""\n\n\nclass Part:\n    pass\n',
                "device/node.py": '"""The device."""\nPart = dict[str, int]\nMAX = 1\n',
                "contract/specs.py": SPECS + "MAX = 2\n",
            },
            "classes of one name 1\n    Part: device/node.py, edge/node.py\n",
        ),
    ],
    ids=["circle", "up", "beside", "large", "full", "untold", "namesakes"],
)
def test_what_is_planted_is_named_and_fails(house, planted, said):
    code, found = house(planted)
    assert said in found
    assert code == 1
