"""Imports only go down: the floors of the house, read off the source without running it.

A module may import modules of lower floors, and of its own where that makes no circle. Imports
inside functions and for type checkers count like any other: a dependency is one wherever it stands.
"""

import ast
import graphlib
import math
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "vaetx_jax"

# Every module of the package, by floor; `folder.*` stands for all modules of a folder.
FLOORS = {
    6: "main study",
    5: "evaluate probe generate export explore samples parameter_study timing_study judge cell_run "
    "fitting sentence_vectors verbs model_card explore_answers explore_figures explore_page "
    "explore_sentences explore_server explore_session explore_style explore_words",
    4: "train api timing distributed command_line replicas grid_study language_table probe_table "
    "curves html_report",
    3: "step estimate checkpoint report parts workdir study_config study_report "
    "cells compilation_cache schedule_study shared_folder nonfinite own_text warm_start "
    "probe_field probe_few_labels probe_protocol probe_references probe_report probe_scores",
    2: "objective decoding beam models.text_vae models.build",
    1: "models.transformer models.recurrent models.gpt2 "
    "data.corpora data.batches data.encoded data.layout sentence_rows",
    0: "models.attention models.layers models.recurrent_cell models.dropout cross_entropy gaussian "
    "schedules data.grammar data.grammar_automaton data.grammar_lexicon data.builders.* "
    "data.array_file data.tokenizers data.tokenizer_base data.sentencepiece_tokenizer "
    "data.vocabulary_tokenizer data.kept_words config presets mesh writer paper errors flops "
    "huge_pages choosing latent_paths neighbours line_reader vector_files "
    "manifest processes stop_signals",
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}

# What `vaetx_jax.NAME` gives, (module, name): imported when first asked for.
GIVEN_AWAY = {("api", "load"), ("fitting", "fit")}

CONFIG_FLOOR = 3  # below it nothing sees a ConfigDict, except the module that defines the config
# A library that only some modules may import, and which.
RESERVED = {
    "dash": {"explore", "explore_answers", "explore_page", "explore_server", "explore_words"},
    "orbax": {"checkpoint"},
    "pickle": set(),  # nothing is unpickled
    "tensorflow": set(),  # neither a dependency
    "torch": set(),  # nor this
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


def floor_of(module: str) -> float:
    """Its floor, or the sky where FLOORS does not say: nothing may import it, it may import all."""
    return FLOOR_OF.get(module, FLOOR_OF.get(f"{module.rpartition('.')[0]}.*", math.inf))


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
        if below in known:
            found.add(below)
        elif name != "__version__":  # a fact of the package, known before any module is
            found.add(inner)
    return found


def test_every_module_has_a_floor() -> None:
    homeless = [m for m, path in modules().items() if not is_package(path) and floor_of(m) > 6]
    assert not homeless, f"say in FLOORS where these live: {homeless}"


def test_imports_only_go_down() -> None:
    known = modules()
    upward = [
        f"{module} (floor {floor_of(module)}) imports {other or 'the package'} ({floor_of(other)})"
        for module, path in known.items()
        for other in sorted(own_imports(path, known))
        if floor_of(other) > floor_of(module)
    ]
    assert not upward, upward


def test_imports_make_no_circle() -> None:
    known = modules()
    graph = {module: own_imports(path, known) for module, path in known.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_a_package_file_imports_nothing_but_what_it_gives_away_when_asked() -> None:
    loaded = {name: imports_of(path) for name, path in modules().items() if is_package(path)}
    given_away = {("typing", "TYPE_CHECKING"), *((f"vaetx_jax.{m}", n) for m, n in GIVEN_AWAY)}
    assert loaded.pop("") == given_away
    assert not any(loaded.values()), loaded


def test_only_the_config_sees_a_config_dict_below_the_runs() -> None:
    seen = [
        module
        for module, path in modules().items()
        if floor_of(module) < CONFIG_FLOOR and "ml_collections" in libraries(path)
    ]
    assert set(seen) <= {"config"}, seen


def test_reserved_libraries_stay_where_they_belong() -> None:
    strays = [
        f"{module} imports {library}"
        for module, path in modules().items()
        for library in libraries(path) & RESERVED.keys()
        if module not in RESERVED[library]
    ]
    assert not strays, strays


def libraries(path: pathlib.Path) -> set[str]:
    return {source.partition(".")[0] for source, _ in imports_of(path)}


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, vaetx_jax; print(*sys.modules.keys() & {'jax', 'numpy', 'flax'})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert run.stdout.split() == []


def test_the_reader_finds_every_form_of_import() -> None:
    source = """
        import vaetx_jax.mesh
        from vaetx_jax import errors, __version__
        from . import grammar as g
        from .. import config
        from ..models.attention import SelfAttention
        if TYPE_CHECKING:
            from vaetx_jax.data.corpora import Corpus
        def late():
            import orbax.checkpoint as ocp
    """
    found = set(imported_names(ast.parse(textwrap.dedent(source)), "vaetx_jax.data"))
    assert found == {
        ("vaetx_jax.mesh", ""),
        ("vaetx_jax", "errors"),
        ("vaetx_jax", "__version__"),
        ("vaetx_jax.data", "grammar"),
        ("vaetx_jax", "config"),
        ("vaetx_jax.models.attention", "SelfAttention"),
        ("vaetx_jax.data.corpora", "Corpus"),
        ("orbax.checkpoint", ""),
    }


def test_floors_are_found_by_name_and_by_folder() -> None:
    assert floor_of("main") == 6
    assert floor_of("data.builders.ptb") == 0
    assert floor_of("data.nowhere") == math.inf
