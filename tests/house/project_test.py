"""CheckpointInfo about the project's own files that are easy to break unseen."""

import ast
import pathlib
import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vaetx_jax
from tests.helpers.paths import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.py"))

# Paths that exist on one machine only. (?<!...) lets pass what is part of a longer path or address.
MACHINE_PATH = re.compile(r"(?<![\w.~:/$}-])/(?:work|farm|root|home|Users)/\w")
# Hosts of package registries: which to use is a setting of the machine that installs.
REGISTRIES = re.compile(r"py[p]i\.org|py[t]honhosted|registry\.np[m]js|de[b]\.debian")


def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def constraints() -> dict[str, Version]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
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


def test_the_package_and_the_project_agree_on_the_version() -> None:
    assert vaetx_jax.__version__ == project()["version"]
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project()['version']}\n" in citation


def test_constraints_pin_every_dependency_inside_its_range() -> None:
    pins = constraints()
    needed = project()["dependencies"] + project()["optional-dependencies"]["dev"]
    wrong = [
        text
        for text in needed
        for requirement in [Requirement(text)]
        if (pin := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pin)
    ]
    assert not wrong, f"run `make constraints`: {wrong}"


def test_constraints_leave_out_what_only_benchmarks_need() -> None:
    assert "torch" not in constraints()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_its_own_command(path: pathlib.Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "python -m vaetx_jax." in docstring
    assert f"--config={path.relative_to(REPOSITORY).as_posix()}" in docstring
