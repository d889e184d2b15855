"""What `vaetx` and `python -m vaetx_jax` say of the commands."""

import importlib.util
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from vaetx_jax.runtime import program


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_command_is_a_module(name):
    module, _ = program.COMMANDS[name]
    assert importlib.util.find_spec(f"vaetx_jax.{module}") is not None


@pytest.mark.parametrize("start", [program.main, program.list_commands])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_has_a_line_for_each_command(start, arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vaetx", *arguments])
    assert start() == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (module, _) in program.COMMANDS.items():
        (line,) = [line for line in lines if line.startswith(f"    {name} ")]
        assert line.endswith(f"python -m vaetx_jax.{module}") and len(line) <= 100


@pytest.mark.parametrize("start", [program.main, program.list_commands])
def test_the_version_is_told(start, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vaetx", "--version"])
    assert start() == 0
    assert capsys.readouterr().out.startswith("vaetx_jax ")


@pytest.mark.parametrize(
    ("start", "arguments"),
    [
        (program.main, ["trian"]),
        (program.list_commands, ["trian"]),
        (program.list_commands, ["train", "--help"]),
        (program.list_commands, ["--help", "train"]),
    ],
)
def test_what_is_no_command_is_refused_with_those_that_there_are(
    start, arguments, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["vaetx", *arguments])
    assert start() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and all(name in said for name in program.COMMANDS)


def test_the_package_as_a_program_loads_no_library():
    code = """
import runpy, sys
sys.argv = ["vaetx_jax"]
try:
    runpy.run_module("vaetx_jax", run_name="__main__", alter_sys=True)
except SystemExit as stopped:
    print("left with", stopped.code, *sys.modules.keys() & {"jax", "numpy", "absl"})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "left with 0"
