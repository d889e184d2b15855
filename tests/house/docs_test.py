"""The documentation is true: its commands, its Python, its settings and its links.

A fenced block without a language, or ```sh, holds commands; ```python is Python; ```text is what a
program printed. What is done with commands stands in a comment on the line before their block:

    (nothing)        each is parsed with the real flags, the real config file and its rules
    <!-- run -->     each is also run, shrunk to two steps of a tiny model, in a folder of its own
    <!-- refused --> each is run and must fail with the message in the ```text block that follows

Python is always run, a page's blocks in order and in one namespace, `fit` with two steps. A command
of a kind that this file does not know fails, and so does a block in another language.
"""

import dataclasses
import functools
import gzip
import importlib
import inspect
import itertools
import os
import pathlib
import re
import runpy
import shlex
import sys
import tomllib

import grain  # defines flags of its own, which must be there while data is read
import pytest
from absl import flags
from ml_collections import config_flags

import vaetx_jax
from tests.helpers import tiny_bert
from tests.helpers.paths import REPOSITORY
from vaetx_jax import command_line, fitting
from vaetx_jax.config import defaults, validation
from vaetx_jax.config import keys as keys_lib
from vaetx_jax.config.study import select, validate_study
from vaetx_jax.errors import UserError
from vaetx_jax.study.cells import cells_of

# The library loads config files so.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = ["README.md", "BUILD.md", "CHANGELOG.md", "CONTRIBUTING.md", "launch/README.md"]
PAGES += [path.relative_to(REPOSITORY).as_posix() for path in DOCS]

# What makes any run tiny; settings of a block that say the same are overridden.
SMALL = {
    "data.batch_size": 8,
    "data.groups": 1,
    "data.max_len": 24,
    "evaluation.iw_samples": 0,
    "evaluation.text_samples": 0,
    "model.dim": 8,
    "model.latent_dim": 4,
    "model.layers": 1,
    "objective.cycles": 1,
    "samples.count": 0,
    "tokenizer.vocab_size": 150,
    "train.steps": 2,
}
SMALL_MAIN = SMALL | {"data.sentences": 120, "data.held_out": 40}
# Environment variables that a command may set, and commands of the system that need no look.
VARIABLES = {"GLIBC_TUNABLES", "JAX_PLATFORMS", "VAETX_CACHE", "VAETX_DATA", "XLA_FLAGS"}
PLAIN = {"docker", "echo", "kubectl", "source"}
REAL_FLAGS = flags.FLAGS
assert grain


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page; `mark` is the comment before it."""

    page: str
    line: int
    kind: str
    mark: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, text):
    lines, blocks, number = text.splitlines(), [], 0
    while number < len(lines):
        fence = re.match(r"( *)```(.*)$", lines[number])
        if not fence:
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
        before = lines[number - 1].strip() if number else ""
        mark = re.fullmatch(r"<!-- (\w+) -->", before)
        inside = "\n".join(line[len(fence[1]) :] for line in lines[number + 1 : end])
        blocks.append(
            Block(page, number + 1, fence[2].strip(), mark[1] if mark else "", inside + "\n")
        )
        number = end + 1
    return blocks


@functools.cache
def page_text(page):
    return (REPOSITORY / page).read_text(encoding="utf-8")


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page, page_text(page))]
COMMANDS = [block for block in ALL_BLOCKS if block.kind in ("", "sh")]


def commands_in(block):
    """The words of each simple command of a block, in order."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        for operator, words in itertools.groupby(lexer, key=lambda word: word in (";", "&&", "|")):
            words = list(words)
            if not operator:
                odd = [word for word in words if re.fullmatch(r"[();<>|&]+", word)]
                assert not odd, f"{block}: {line}: {odd} is not known to this test"
                found.append(words)
    return found


# What each kind of command must be ----------------------------------------------------------------


class Wrong(Exception):
    """A command cannot be: what the user would be told."""


@dataclasses.dataclass
class Called:
    """A command of ours, parsed: its module, its flags, its words beside the flags."""

    name: str
    module: object
    values: flags.FlagValues
    words: list

    def main(self):
        takes_words = inspect.signature(self.module.main).parameters
        return self.module.main(self.words) if takes_words else self.module.main()


@pytest.fixture
def parse(monkeypatch, capsys):
    """Parses `python -m NAME ARGUMENTS` with that module's own flags; raises `Wrong`."""

    def parsed(name, arguments):
        values = flags.FlagValues()
        with monkeypatch.context() as patch:
            for define in ("string", "integer", "float", "bool", "enum", "list"):
                define = f"DEFINE_{define}"
                own = functools.partial(getattr(flags, define), flag_values=values)
                patch.setattr(flags, define, own)
            own = functools.partial(config_flags.DEFINE_config_file, flag_values=values)
            patch.setattr(config_flags, "DEFINE_config_file", own)
            module = _module(name, values, patch)
        for key in [key for key in REAL_FLAGS if key.startswith("grain_")]:
            values[key] = REAL_FLAGS[key]
        words = "run_with_words(" in inspect.getsource(module)
        values.set_gnu_getopt(words)
        monkeypatch.delitem(sys.modules, "config_config", raising=False)  # of the file before
        monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(sys, "argv", [name, *arguments])  # overrides are looked for there
        # The libraries of object stores are extras, which need not be installed here.
        monkeypatch.setattr(command_line, "check_url", lambda name, url: None)
        capsys.readouterr()
        try:
            left = command_line._parse([name, *arguments], words=words)
        except SystemExit:
            raise Wrong(capsys.readouterr().err) from None
        return Called(name, module, values, left[1:])

    return parsed


def module_exists(name):
    """Whether `python -m NAME` finds a file: a module, or a package that can be run."""
    path = REPOSITORY / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _module(name, values, patch):
    """The module, its flags defined on `values`."""
    if not module_exists(name):
        raise Wrong(f"there is no module {name}")
    if name.startswith("benchmarks."):  # they define theirs when they are imported
        patch.syspath_prepend(str(REPOSITORY))
        patch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)
    of_several_files = (REPOSITORY / name.replace(".", "/")).is_dir()
    module = importlib.import_module(f"{name}.__main__" if of_several_files else name)
    if not hasattr(module, "define_flags"):
        raise Wrong(f"{name} is no command")
    defines_on = inspect.signature(module.define_flags).parameters
    module.define_flags(*([values] if defines_on else []))
    return module


def check_ours(called):
    """The rules beyond the flags, as the command itself applies them before it starts."""
    if called.name.startswith("benchmarks."):
        return
    if "status" in called.values and called.values.status:  # which trains nothing
        return
    needed = ["config"]
    if called.name == "vaetx_jax.export":
        needed.append("to")
    if called.name not in ("vaetx_jax.main", "vaetx_jax.study"):  # theirs has a default
        needed.append("workdir")
    for flag in needed:
        if flag in called.values:
            command_line.require(flag)
    if called.name == "vaetx_jax.main":
        validation.validate(called.values.config)
    if called.name == "vaetx_jax.study":
        config = called.values.config
        validate_study(config)
        if config.study.kind == "grid":
            select([cell.label for cell in cells_of(config)], config.study.only)
    if called.name == "vaetx_jax.generate":
        name, texts = called.module._task_name(called.words)
        called.module._arguments(name, texts)
        called.module._lines(name, texts)


def check(words, parse):
    """Checks a simple command; gives it back parsed if it is `python -m` of ours."""
    while re.match(r"[A-Z_]+=", words[0]):
        if words[0].partition("=")[0] not in VARIABLES:
            raise Wrong(f"an environment variable not known here: {words[0]}")
        words = words[1:]
    program, *rest = words
    if program == "make":
        check_make(rest)
    elif program == "pip":
        check_pip(rest)
    elif program in ("python", "python3"):
        return check_python(rest, parse)
    elif program == "sbatch":
        script = next((i for i, word in enumerate(rest) if not word.startswith("--")), None)
        if script is None or rest[script] != "launch/slurm.sbatch":
            raise Wrong(f"sbatch: launch/slurm.sbatch is missing: {shlex.join(words)}")
        check_main(rest[script + 1 :], parse)
    elif program.startswith("launch/"):
        check_launch(program, rest, parse)
    elif program not in PLAIN:
        raise Wrong(f"a command not known here: {program}")
    return None


def check_python(words, parse):
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
    elif words[0] == "-m" and words[1].split(".")[0] in ("vaetx_jax", "benchmarks"):
        called = parse(words[1], words[2:])
        check_ours(called)
        return called
    elif words[0] == "launch/local_processes.py" and words[2:4] == ["--", "python"]:
        return check_python(words[4:], parse)
    elif words[0] != "-m" and (REPOSITORY / words[0]).is_file():
        if words[1:]:
            raise Wrong(f"arguments of a script: {words}")
    elif words != ["-m", "venv", ".venv"]:
        raise Wrong(f"not known here: python {' '.join(words)}")
    return None


def check_main(arguments, parse):
    """Checks what a script starts: a module's name and its flags, or those of the training."""
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    name, *rest = arguments if arguments and arguments[0][:1] != "-" else ["main", *arguments]
    check_python(["-m", name if "." in name else f"vaetx_jax.{name}", *rest], parse)


def check_launch(program, words, parse):
    """Checks a script of launch/: its own options and words, then what stands after `--`."""
    path = REPOSITORY / program
    if not path.is_file() or not os.access(path, os.X_OK):
        raise Wrong(f"there is no script {program} that can be run")
    if "--" not in words and words[-1] not in ("stop", "delete"):  # which start nothing
        raise Wrong(f"{program}: nothing stands after --")
    own, _, rest = (list(part) for part in _split(words, "--"))
    cases = page_text(program)
    for word in own:
        name, equals, _ = word.partition("=")
        choice = re.escape(name) + (re.escape("=*") if equals else "")
        pattern = rf"^ *(?:[\w|]+\|)?{choice}(?:\|[\w|]+)?\)"  # an arm of the script's `case`
        if not re.search(pattern, cases, re.M):
            raise Wrong(f"{program} has no {word}")
    if program == "launch/supervise.sh":
        check(rest, parse)
    elif rest:
        check_main(rest, parse)


def _split(words, at):
    """As `str.partition`, of words."""
    end = words.index(at) if at in words else len(words)
    return words[:end], words[end : end + 1], words[end + 1 :]


@functools.cache
def make_targets():
    return set(re.findall(r"^([a-z-]+):", page_text("Makefile"), re.M))


def check_make(words):
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and not re.search(rf"^{name} \?=", page_text("Makefile"), re.M):
            raise Wrong(f"the Makefile has no variable {name}")
        if not equals and name not in make_targets():
            raise Wrong(f"the Makefile has no target {name}")


def check_pip(words):
    project = tomllib.loads(page_text("pyproject.toml"))["project"]
    extras = set(project["optional-dependencies"])
    if words[0] != "install":
        raise Wrong(f"not known here: pip {words[0]}")
    for option, word in itertools.pairwise(words):
        if option == "-c" and not (REPOSITORY / word).is_file():
            raise Wrong(f"pip: there is no {word}")
        named = re.fullmatch(r"(?:\.|vaetx-jax)(?:\[([\w,-]+)\])?", word)
        if named and set((named[1] or "").split(",")) - extras - {""}:
            raise Wrong(f"pyproject.toml has no extra {named[1]}")
        if not named and word not in ("-c", "-e") and option != "-c":
            raise Wrong(f"pip: not known here: {word}")


# The pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_every_command_is_one_that_there_is(block, parse, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert block.mark in ("", "run", "refused"), f"{block}: unknown mark {block.mark}"
    if block.mark == "refused":
        return
    for words in commands_in(block):
        try:
            check(words, parse)
        except (Wrong, UserError) as error:
            pytest.fail(f"{block}: {shlex.join(words)}\n{error}")


def test_no_block_is_of_an_unknown_language():
    odd = [f"{block} {block.kind}" for block in ALL_BLOCKS if block.kind not in KNOWN_KINDS]
    assert odd == []


KNOWN_KINDS = ("", "sh", "python", "text")

GOOD = "python -m vaetx_jax.main --config=configs/demo.py --workdir=runs/a"
WRONG = {
    "key": f"{GOOD} --config.model.lattent_dim=3",
    "value": f"{GOOD} --config.model.dim=0",
    "flag": "python -m vaetx_jax.evaluate --workdir=runs/a --splits=test",
    "choice": "python -m vaetx_jax.evaluate --workdir=runs/a --split=tests",
    "no folder": "python -m vaetx_jax.evaluate",
    "config file": "python -m vaetx_jax.main --config=configs/pbt.py --workdir=runs/a",
    "model": "python -m vaetx_jax.main --config=configs/ptb.py:vae_grus --workdir=runs/a",
    "no training file": "python -m vaetx_jax.main --config=configs/text.py --workdir=runs/a",
    "verb": "python -m vaetx_jax.generate --workdir=runs/a smaple",
    "one sentence of two": "python -m vaetx_jax.generate --workdir=runs/a interpolate 'a b'",
    "no corpus": "python -m vaetx_jax.generate --workdir=runs/a neighbours 'a b'",
    "module": "python -m vaetx_jax.tain --workdir=runs/a",
    "no command": "python -m vaetx_jax.models.gaussian",
    "row": "python -m vaetx_jax.study --config=configs/study/table2.py --workdir=studies/a "
    "--config.study.only='sst3-*'",
    "benchmark's flag": "python -m benchmarks.train_step --models=vae_gru",
    "target": "make demos",
    "make's variable": "make demo ARG=1",
    "extra": "pip install -e '.[gpu]'",
    "constraints": "pip install -c constraint.txt -e .",
    "variable": f"XLA_FLAG=1 {GOOD}",
    "behind a pipe": f"echo a | {GOOD} --config.modle.dim=3",
    "script": "launch/gpu_nodes.sh -- --config=configs/demo.py",
    "script's option": "launch/gpu_node.sh --gpu=0 -- --config=configs/demo.py",
    "script's verb": "launch/tpu_vm.sh --name=a --zone=b al -- --config=configs/demo.py",
    "behind a script": "launch/gpu_node.sh -- --config=configs/demo.py --config.modle.dim=3",
    "supervised": "launch/supervise.sh -- python -m vaetx_jax.tain",
    "batch script": "sbatch launch/slum.sbatch --config=configs/demo.py",
    "behind a batch script": "sbatch --nodes=2 launch/slurm.sbatch --config=configs/demos.py",
    "unknown command": "conda install vaetx-jax",
    "unknown operator": f"{GOOD} > log",
}


@pytest.mark.parametrize("name", WRONG)
def test_this_file_sees_a_wrong_command(name, parse, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    block = Block("here", 1, "", "", WRONG[name])
    with pytest.raises((Wrong, UserError, AssertionError)):
        for words in commands_in(block):
            check(words, parse)


def test_this_file_sees_a_good_command(parse, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    block = blocks_of(
        "here", f"text\n\n<!-- run -->\n```sh\n{GOOD} \\\n    --config.seed=1 # x\n```"
    )
    assert [b.mark for b in block] == ["run"]
    (words,) = commands_in(block[0])
    assert check(words, parse).values.config.seed == 1


# What is run --------------------------------------------------------------------------------------

SENTENCES = [f"the {a} {b} {c} it" for a in ("old", "new") for b in "pqrst" for c in "abcdefgh"]


@pytest.fixture(scope="module")
def workspace(config, tmp_path_factory):
    """A folder with the files that the pages name; runs are made there by their own commands."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    (folder / "runs").mkdir()
    plain = "".join(f"{text}\n" for text in SENTENCES)
    (folder / "sentences.txt").write_text(plain)
    (folder / "sentences.txt.gz").write_bytes(gzip.compress(plain.encode()))
    (folder / "new.txt").write_text("".join(f"{text}\n" for text in SENTENCES[:5]))
    labelled = [(text, ("good", "bad")[i % 2]) for i, text in enumerate(SENTENCES)]
    (folder / "reviews.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in labelled))
    (folder / "unlabelled.tsv").write_text(plain)
    tiny_bert.write(folder / "minilm")
    rows = "".join(f"{label},{text}\n" for text, label in labelled)
    (folder / "reviews.csv").write_text("label,text\n" + rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAETX_CACHE", config.data.cache_dir)
        patch.setenv("MPLBACKEND", "agg")
        yield folder


@pytest.fixture
def run(workspace, parse, monkeypatch, capsys):
    """Runs a command of ours in the workspace, shrunk: (exit status, errors)."""
    monkeypatch.chdir(workspace)

    def ran(words, *, small=True):
        name, *arguments = words[words.index("-m") + 1 :]
        if small and name == "vaetx_jax.main":
            model = parse(name, arguments).values.config.model.name
            keys = {
                k: v for k, v in SMALL_MAIN.items() if k != "model.latent_dim" or "vae" in model
            }
            arguments += [f"--config.{key}={value}" for key, value in keys.items()]
        try:
            called = parse(name, arguments)
        except Wrong as wrong:
            return 2, str(wrong)
        capsys.readouterr()
        status = command_line._guarded(called.main)
        return status, capsys.readouterr().err

    return ran


@pytest.fixture
def runs(workspace, run):
    """`runs/demo`, which several pages speak of."""
    if not (workspace / "runs" / "demo" / "evaluation.json").exists():
        demo = "-m vaetx_jax.main --config=configs/demo.py --workdir=runs/demo"
        status, errors = run(demo.split())
        assert status == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize("page", dict.fromkeys(b.page for b in COMMANDS if b.mark == "run"))
def test_commands_that_are_marked_run(page, run, runs):
    for block in COMMANDS:
        if block.page == page and block.mark == "run":
            for words in commands_in(block):
                status, errors = run(words)
                assert status == 0, f"{block}: {shlex.join(words)}\n{errors}"


REFUSED = [
    (block, after)
    for block, after in itertools.pairwise(ALL_BLOCKS)
    if block.kind in ("", "sh") and block.mark == "refused"
]


@pytest.mark.parametrize(("block", "after"), REFUSED, ids=str)
def test_commands_that_are_marked_refused_say_what_the_page_says(block, after, run, runs):
    (words,) = commands_in(block)
    status, errors = run(words, small=False)
    assert status in (1, 2)
    assert after.kind == "text" and after.page == block.page
    assert errors.splitlines() == after.text.splitlines()


def small_fit(sentences, labels=None, *, config=None, **settings):
    """`fit` with the page's settings checked as they stand, then two steps of a tiny model."""
    default = fitting._default(settings.get("model"), settings.get("encoder"))
    fitting._settings(default, {**(config or {}), **fitting._dotted(default, _only(settings))})
    small = {key.replace(".", "_"): value for key, value in SMALL.items()}
    if "encoder" in settings:
        small = {name: value for name, value in small.items() if not name.startswith("tokenizer")}
    settings = {"verbose": False, **settings, **small}
    return fitting.fit(sentences, labels, config=config, **settings)


def _only(settings):
    own = inspect.signature(fitting.fit).parameters
    return {key: value for key, value in settings.items() if key not in own}


@pytest.mark.parametrize("page", dict.fromkeys(b.page for b in ALL_BLOCKS if b.kind == "python"))
def test_python_runs(page, runs, workspace, monkeypatch, capsys):
    monkeypatch.setattr(vaetx_jax, "fit", small_fit, raising=False)
    monkeypatch.setattr("vaetx_jax.sentence_vectors.fit", small_fit)
    namespace = {"__name__": "page"}
    for block in ALL_BLOCKS:
        if block.page == page and block.kind == "python":
            # Lines in front, so that a traceback names the line of the page.
            code = compile("\n" * block.line + block.text, page, "exec")
            exec(code, namespace)


def test_the_pictures_are_drawn_by_their_scripts(tmp_path, monkeypatch):
    scripts = sorted((REPOSITORY / "docs" / "pictures").glob("*.py"))
    assert scripts
    monkeypatch.setenv("MPLBACKEND", "agg")
    for script in scripts:
        path = tmp_path / f"{script.stem}.png"
        monkeypatch.setattr(sys, "argv", [str(script), str(path)])
        runpy.run_path(str(script), run_name="__main__")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert (script.with_suffix(".png")).is_file()


# Names and links ----------------------------------------------------------------------------------


def inline_of(page):
    """What stands between single backticks, outside fenced blocks."""
    text = re.sub(r"^ *```.*?^ *```$", "", page_text(page), flags=re.S | re.M)
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


@functools.cache
def known_keys():
    keys = set(keys_lib.flatten(defaults.default_config().to_dict()))
    for kind in ("parameters", "timing", "schedules", "grid"):
        study = importlib.import_module("vaetx_jax.config.study").default_study("x", kind)
        keys |= set(keys_lib.flatten(study.to_dict()))
    return keys


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page):
    groups = sorted({key.split(".")[0] for key in known_keys() if "." in key})
    pattern = re.compile(rf"(?:--)?(?:config\.)?((?:{'|'.join(groups)})\.[a-z0-9_.]+)(?:=.*)?$")
    files = (".py", ".json", ".safetensors")
    named = [match[1] for span in inline_of(page) if (match := pattern.match(span))]
    wrong = [key for key in named if key not in known_keys() and not key.endswith(files)]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_in_passing_exists(page):
    for span in inline_of(page):
        for target in re.findall(r"^make ([a-z][a-z-]*)", span):
            assert target in make_targets(), span
        if span.startswith("pip install"):
            check_pip(shlex.split(span)[1:])
        for module in re.findall(r"^python -m ((?:vaetx_jax|benchmarks|tests)\.[\w.]+)", span):
            assert module_exists(module), span
        for script in re.findall(r"^python ([\w/]+\.py)|^(configs/[a-z0-9_/]+\.py)", span):
            assert (REPOSITORY / "".join(script)).is_file(), span


def headings(page):
    """The anchors of a page's headings, as they are made of the headings' words."""
    text = re.sub(r"^ *```.*?^ *```$", "", page_text(page), flags=re.S | re.M)
    words = [
        re.sub(r"[`*]", "", line).strip().lower() for line in re.findall(r"^#+ (.*)$", text, re.M)
    ]
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in words}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```$", "", page_text(page), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        if anchor:
            there = pathlib.Path(os.path.relpath(target, REPOSITORY)).as_posix()
            assert anchor in headings(there), link


def test_every_page_of_the_documentation_is_reached_from_the_readme():
    links = set(re.findall(r"\]\((docs/\w+\.md)\)", page_text("README.md")))
    assert links == {page for page in PAGES if page.startswith("docs/")}
