"""Imports only go down: the order of the packages, read off the source without running it.

A package imports packages of lower rows, and its own modules where that makes no circle. Imports
inside functions and for type checkers count like any other: a dependency is one wherever it stands.
"""

import ast
import graphlib
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from tests.helpers.paths import REPOSITORY

PACKAGE = REPOSITORY / "vaetx_jax"

# The packages and top-level modules from top to bottom. A row imports the rows below it.
ROWS = [
    "study main __main__",
    "final_report sentence_vectors",
    "fitting",
    "explore generate export",
    "probe",
    "evaluate",
    "inference command_line",
    "training reports",
    "run",
    "metrics",
    "config",
    "losses",
    "models data",
    "runtime",
    "paper errors version settings",
]
ROW_OF = {name: -row for row, names in enumerate(ROWS) for name in names.split()}

# `vaetx_jax.NAME` is imported when first asked for: (module, name).
GIVEN_AWAY = {("inference.loading", "load"), ("fitting", "fit")}
# What `from vaetx_jax.config import NAME` gives; the other packages' own files are empty.
CONFIG_EXPORTS = {
    ("vaetx_jax.config.defaults", "default_config"),
    ("vaetx_jax.config.own_text", "own_text_config"),
    ("vaetx_jax.config.validation", "validate"),
}

# A library that only some modules may import, and which; `folder.` stands for all of a package.
RESERVED = {
    "dash": "explore.",
    "orbax": "training.checkpoint",
    "pickle": "nothing is unpickled",
    "tensorflow": "not a dependency",
    "torch": "not a dependency",
}


def modules() -> dict[str, pathlib.Path]:
    """Dotted name inside the package -> file; "" is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_package(path: pathlib.Path) -> bool:
    return path.name == "__init__.py"


def package_of(module: str) -> str:
    """The package or top-level module that a module belongs to."""
    return module.partition(".")[0]


def imported_names(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """What a module imports, as (dotted module, name taken from it or "").

    Args:
      tree: the parsed source.
      package: the dotted package that the module lies in, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parents = package.split(".")
                base = parents[: len(parents) - node.level + 1]
                source = ".".join([*base, source] if source else base)
            for alias in node.names:
                yield source, alias.name


def imports_of(path: pathlib.Path) -> set[tuple[str, str]]:
    package = ".".join(path.relative_to(PACKAGE.parent).parent.parts)
    return set(imported_names(ast.parse(path.read_text(encoding="utf-8")), package))


def own_imports(path: pathlib.Path, known: dict[str, pathlib.Path]) -> set[str]:
    """The modules of this package that a file imports, named as `modules` names them."""
    found = set()
    for source, name in imports_of(path):
        if source.partition(".")[0] != PACKAGE.name:
            continue
        inner = source.partition(".")[2]
        below = f"{inner}.{name}".lstrip(".")
        found.add(below if below in known else inner)
    return found


def libraries(path: pathlib.Path) -> set[str]:
    return {source.partition(".")[0] for source, _ in imports_of(path)}


def test_every_package_has_a_row() -> None:
    unplaced = {package_of(module) for module in modules() if module} - ROW_OF.keys()
    assert not unplaced, f"say in ROWS where these belong: {unplaced}"


def test_packages_import_only_packages_below_them() -> None:
    known = modules()
    upward = [
        f"{module} imports {other or 'the package'}"
        for module, path in known.items()
        for other in sorted(own_imports(path, known))
        if module
        and package_of(other) != package_of(module)
        and not (other and ROW_OF[package_of(other)] < ROW_OF[package_of(module)])
    ]
    assert not upward, upward


def test_imports_make_no_circle() -> None:
    known = modules()
    graph = {module: own_imports(path, known) for module, path in known.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_nothing_imports_a_command() -> None:
    known = modules()
    strays = [
        f"{module} imports {other}"
        for module, path in known.items()
        for other in own_imports(path, known)
        if other == "main" or other.endswith("__main__")
    ]
    assert not strays, strays


def test_package_files_are_empty_but_for_what_they_export() -> None:
    loaded = {name: imports_of(path) for name, path in modules().items() if is_package(path)}
    given_away = {("typing", "TYPE_CHECKING"), ("vaetx_jax.version", "__version__")}
    given_away |= {(f"vaetx_jax.{m}", n) for m, n in GIVEN_AWAY}
    assert loaded.pop("") == given_away
    assert loaded.pop("config") == CONFIG_EXPORTS
    assert not any(loaded.values()), loaded


def test_nothing_below_the_config_sees_a_config_dict() -> None:
    seen = [
        module
        for module, path in modules().items()
        if module
        and ROW_OF[package_of(module)] < ROW_OF["config"]
        and "ml_collections" in libraries(path)
    ]
    assert not seen, seen


def test_reserved_libraries_stay_where_they_belong() -> None:
    strays = [
        f"{module} imports {library}"
        for module, path in modules().items()
        for library in libraries(path) & RESERVED.keys()
        if not f"{module}.".startswith(RESERVED[library])
    ]
    assert not strays, strays


@pytest.mark.parametrize("folder", ["", *sorted({package_of(m) for m in modules() if "." in m})])
def test_a_folder_shows_at_most_twenty_six_entries(folder: str) -> None:
    # The others say that there are types, and what `python -m vaetx_jax` prints.
    unseen = ("__pycache__", "py.typed", "__main__.py")
    entries = [path for path in (PACKAGE / folder).iterdir() if path.name not in unseen]
    assert len(entries) <= 26, sorted(path.name for path in entries)


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, vaetx_jax; print(*sys.modules.keys() & {'jax', 'numpy', 'flax'})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert run.stdout.split() == []


def test_the_reader_finds_every_form_of_import() -> None:
    source = """
        import vaetx_jax.runtime.mesh
        from vaetx_jax import errors, __version__
        from . import grammar as g
        from .. import config
        from ..models.attention import SelfAttention
        if TYPE_CHECKING:
            from vaetx_jax.data.corpora.corpus import Corpus
        def late():
            import orbax.checkpoint as ocp
    """
    found = set(imported_names(ast.parse(textwrap.dedent(source)), "vaetx_jax.data"))
    assert found == {
        ("vaetx_jax.runtime.mesh", ""),
        ("vaetx_jax", "errors"),
        ("vaetx_jax", "__version__"),
        ("vaetx_jax.data", "grammar"),
        ("vaetx_jax", "config"),
        ("vaetx_jax.models.attention", "SelfAttention"),
        ("vaetx_jax.data.corpora.corpus", "Corpus"),
        ("orbax.checkpoint", ""),
    }
