"""Facts about the project's own files that are easy to break unseen."""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vaetx_jax
from tests.helpers.paths import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.py"))
CONSTRAINED = ("3.11", "3.13")  # the Pythons that have a file of constraints

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

# Paths that exist on one machine only. (?<!...) lets pass what is part of a longer path or address.
MACHINE_PATH = re.compile(r"(?<![\w.~:/$}-])/(?:work|farm|root|home|Users)/\w")
# Hosts of package registries: which to use is a setting of the machine that installs.
REGISTRIES = re.compile(r"py[p]i\.org|py[t]honhosted|registry\.np[m]js|de[b]\.debian")


def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def constraints(python: str) -> dict[str, Version]:
    lines = (REPOSITORY / f"constraints-{python}.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def own_files() -> list[pathlib.Path]:
    """What git tracks, and what it would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no git checkout: nothing says which files are the project's")
    paths = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}"
        for path in own_files()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRIES) == []


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("see /" + "work/data", True),
        ('open("/' + 'root/x")', True),
        ("https://example.org/home/page", False),
        ("../work/data and runs/work/a", False),
    ],
)
def test_a_machine_path_is_told_from_an_address(line: str, caught: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) == caught


def test_the_package_alone_says_the_version_and_the_citation_agrees() -> None:
    assert "version" not in project() and "version" in project()["dynamic"]
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {vaetx_jax.__version__}\n" in citation


def test_the_newest_version_of_the_changelog_is_the_packages() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    numbered = re.findall(r"^## \[?(\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    versions = [Version(number) for number in numbered]
    assert numbered[0] == vaetx_jax.__version__
    assert versions == sorted(versions, reverse=True)


def image_extras() -> list[str]:
    """Those that the Dockerfile installs where its build argument does not say otherwise."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    return re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)[1].split(",")


@pytest.mark.parametrize("python", CONSTRAINED)
def test_constraints_pin_every_dependency_of_tests_and_image_inside_its_range(python: str) -> None:
    pins, extras = constraints(python), project()["optional-dependencies"]
    needed = project()["dependencies"] + [
        text for name in ("dev", *image_extras()) for text in extras[name]
    ]
    wrong = [
        text
        for text in needed
        for requirement in [Requirement(text)]
        if (pin := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pin)
    ]
    assert not wrong, f"run `make constraints PYTHON=python{python}`: {wrong}"


@pytest.mark.parametrize("python", CONSTRAINED)
def test_constraints_leave_out_what_only_benchmarks_need(python: str) -> None:
    assert "torch" not in constraints(python)


@pytest.mark.parametrize(("python", "series"), [("3.11", "0.10"), ("3.13", "0.12")])
def test_the_oldest_and_the_newest_series_of_jax_are_pinned(python: str, series: str) -> None:
    pin = constraints(python)["jax"]
    assert f"{pin.major}.{pin.minor}" == series


def test_every_module_of_the_package_can_be_imported() -> None:
    """Under the interpreter of the tests; importing a command must not run it."""
    code = (
        "import importlib, pkgutil, vaetx_jax\n"
        "for module in pkgutil.walk_packages(vaetx_jax.__path__, 'vaetx_jax.'):\n"
        "    importlib.import_module(module.name)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# `make` ------------------------------------------------------------------------------------------


def interpreter(folder: pathlib.Path, name: str, version: str) -> None:
    """Puts a stand-in of a Python of this version on a PATH: it only says its version."""
    program = folder / name
    program.write_text(
        f"#!/bin/sh\ncase $2 in *version_info*) echo {version} ;; esac\n"
        if version
        else "#!/bin/sh\necho shim: command not found >&2; exit 127\n",
        encoding="utf-8",
    )
    program.chmod(0o755)


def made_by(tmp_path: pathlib.Path, *arguments: str, **versions: str) -> str:
    """What `make demo` would do, where these interpreters are all there is."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name, version in versions.items():
        interpreter(tools, name.replace("_", "."), version)
    command = ["make", "--dry-run", f"VENV={tmp_path}/venv", "demo", *arguments]
    path = f"{tools}{os.pathsep}{os.defpath}"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@needs_make
def test_make_takes_the_newest_python_where_it_runs(tmp_path: pathlib.Path) -> None:
    said = made_by(tmp_path, python3_13="3.13", python3="3.11")
    assert "python3.13 -m venv" in said and "constraints-3.13.txt" in said


@needs_make
def test_make_passes_over_a_python_that_only_has_a_name(tmp_path: pathlib.Path) -> None:
    said = made_by(tmp_path, python3_13="", python3="3.11")
    assert "python3 -m venv" in said and "constraints-3.11.txt" in said


@needs_make
def test_make_pins_other_pythons_as_the_newest(tmp_path: pathlib.Path) -> None:
    said = made_by(tmp_path, "PYTHON=python3.12", python3_12="3.12")
    assert "constraints-3.13.txt" in said


@needs_make
def test_make_keeps_an_environment_of_another_python_until_asked(tmp_path: pathlib.Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / ".made").touch()
    interpreter(tmp_path / "venv" / "bin", "python", "3.11")
    kept = made_by(tmp_path, python3_13="3.13", python3="3.13")
    assert "-m venv" not in kept and "constraints-3.11.txt" in kept
    asked = made_by(tmp_path, "PYTHON=python3.13")
    assert "python3.13 -m venv" in asked and "constraints-3.13.txt" in asked


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_its_own_command(path: pathlib.Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "python -m vaetx_jax." in docstring
    assert f"--config={path.relative_to(REPOSITORY).as_posix()}" in docstring
