"""Fixtures of the benchmarks' tests."""

import sys

import pytest
from stranger import BODY, DEPLOYMENT, policy


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A repository that knows nothing of this one but that tierloop is installed."""
    (tmp_path / "my_package.py").write_text(BODY)
    policy(tmp_path / "my.onnx")
    (tmp_path / "mine.toml").write_text(DEPLOYMENT)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_package", None)
