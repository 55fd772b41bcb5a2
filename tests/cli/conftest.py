"""Fixtures of the command line's tests."""

import sys
from subprocess import CompletedProcess

import pytest

from tierloop.cli.app import main


@pytest.fixture
def tierloop(tmp_path, monkeypatch, capfd):
    """Runs the command line in this process and in `tmp_path`."""

    def run(*words: str) -> CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tierloop", *words])
        try:
            code = main()
        except SystemExit as left:
            code = left.code
        return CompletedProcess(words, code or 0, *capfd.readouterr())

    return run
