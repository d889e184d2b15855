"""The command line: every mistake gets one message and status 2, and none a traceback."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest
from absl import app, flags
from ml_collections import config_flags

from tests.helpers.paths import REPOSITORY
from vaetx_jax import command_line
from vaetx_jax.errors import ConfigError, UserError

# The library loads config files so.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ROOT = REPOSITORY


@pytest.fixture
def parse(monkeypatch, capsys):
    """Parses arguments as the main command does, on flags of this test alone.

    Gives (exit status or None, what was printed as errors, the flags).
    """
    monkeypatch.chdir(ROOT)

    def parsed(*arguments):
        monkeypatch.delitem(sys.modules, "config_config", raising=False)  # of the file before
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", None, "Settings.", flag_values=values)
        flags.DEFINE_string("workdir", None, "Folder.", flag_values=values)
        flags.DEFINE_flag(app.HelpFlag(), flag_values=values)
        flags.DEFINE_enum("split", "test", ["valid", "test"], "Split.", flag_values=values)
        monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(sys, "argv", ["main", *arguments])  # overrides are looked for there
        status = None
        try:
            command_line._parse(["main", *arguments])
        except SystemExit as stopped:
            status = stopped.code
        return status, capsys.readouterr().err, values

    return parsed


DEMO = "--config=configs/demo.py"


def test_a_good_command_line_is_read(parse):
    status, errors, values = parse(
        DEMO, "--workdir=runs/a", "--config.model.dim=64", "--config.train.learning_rate=1"
    )
    assert (status, errors) == (None, "")
    assert values.workdir == "runs/a"
    assert values.config.model.dim == 64
    assert values.config.train.learning_rate == 1.0


def test_to_ask_for_help_is_no_mistake(parse):
    status, errors, _ = parse("--help")
    assert (status, errors) == (0, "")


def test_a_config_file_that_ends_the_program_gives_its_status(parse, tmp_path):
    config = tmp_path / "config.py"
    config.write_text("import sys\ndef get_config():\n    sys.exit(3)\n", encoding="utf-8")
    status, _, _ = parse(f"--config={config}")
    assert status == 3


@pytest.mark.parametrize(
    "form", [[DEMO], ["--config", "configs/demo.py"], ["-config=configs/demo.py"]]
)
def test_the_config_may_be_written_in_every_way_absl_knows(parse, form):
    status, _, values = parse(*form, "--config.model.layers=3")
    assert status is None
    assert values.config.model.layers == 3


def test_the_model_stands_behind_the_colon(parse):
    status, _, values = parse("--config=configs/ptb.py:transformer_lm")
    assert status is None
    assert values.config.model.name == "transformer_lm"


@pytest.mark.parametrize("form", [["--config=ptb:gru_lm"], ["--config", "configs/ptb.py:gru_lm"]])
def test_a_config_of_the_package_is_found_by_its_name(parse, monkeypatch, tmp_path, form):
    status, _, values = parse(*form)
    assert status is None and values.config.model.name == "gru_lm"
    assert command_line._find_config("--workdir=ptb", "") == "--workdir=ptb"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ptb").touch()
    assert command_line._find_config("--config=ptb", "") == "--config=ptb"  # a path comes first


def test_a_tilde_is_expanded_once_in_every_path(parse, monkeypatch):
    monkeypatch.setenv("HOME", "/somebody")
    given = ["--workdir=~/run", "--config.data.train=~/a.txt", "--config.data.cache_dir=~/cache"]
    status, _, values = parse("--config=text", *given, "--config.train.init_from=~/other")
    assert status is None
    assert values.workdir == "/somebody/run"
    data = values.config.data
    assert (data.train, data.cache_dir) == ("/somebody/a.txt", "/somebody/cache")
    assert values.config.train.init_from == "/somebody/other"


@pytest.mark.parametrize(
    "given",
    ["--config.data.cache_dir=gs://bucket/cache", "--config.data.train=s3://b/a.txt"],
    ids=str,
)
def test_a_url_is_refused_where_a_path_is_needed(parse, given):
    status, errors, _ = parse("--config=text", given)
    assert status == 2
    assert "cannot be read or written here; give a path of this machine" in errors


def test_a_work_folder_may_be_a_url_of_a_store(parse):
    assert parse("--config=text", "--workdir=memory://bucket/run")[0] is None
    assert command_line.default_workdir("runs") == "memory://bucket/run"


def test_a_work_folder_at_a_url_of_no_store_is_refused(parse):
    status, errors, _ = parse("--config=text", "--workdir=gz://bucket/run")
    assert status == 2
    assert "--workdir = 'gz://bucket/run': no folder can be kept at gz://" in errors


MISTAKES = {
    "misspelt key": ([DEMO, "--config.model.lattent_dim=3"], "did you mean model.latent_dim?"),
    "misspelt group": ([DEMO, "--config.modle.dim=3"], "did you mean model.dim?"),
    "key without a group": ([DEMO, "--config.dim=3"], "unknown key --config.dim"),
    "misspelt key, two words": (
        ["--config", "configs/demo.py", "--config.model.lattent_dim", "3"],
        "did you mean model.latent_dim?",
    ),
    "a group as a key": ([DEMO, "--config.model=3"], "--config.model=3"),
    "a group with a misspelt key": (
        [DEMO, '--config.model={"dimm": 3}'],
        "--config.model is a group of keys",
    ),
    "a key before the file": (["--config.seed=1", DEMO], "config"),
    "a key below a key": ([DEMO, "--config.seed.x=3"], "config.seed.x"),
    "word for a number": ([DEMO, "--config.model.dim=wide"], "config.model.dim"),
    "fraction for an integer": ([DEMO, "--config.model.dim=1.5"], "config.model.dim"),
    "word for a float": ([DEMO, "--config.train.learning_rate=fast"], "train.learning_rate"),
    "nothing for a number": ([DEMO, "--config.seed="], "config.seed"),
    "word for an unset number": ([DEMO, "--config.model.layers=many"], "config.model.layers"),
    "left over": ([DEMO, "--config.model.pre_norm", "false"], "left over after the flags: false"),
    "left over words": ([DEMO, "train", "it"], "left over after the flags: train it"),
    "unknown flag": ([DEMO, "--wrokdir=a"], "Did you mean: workdir"),
    "unknown choice": ([DEMO, "--split=trian"], "split"),
    "flag without a value": ([DEMO, "--workdir"], "workdir"),
    "missing file": (["--config=configs/none.py"], "No such file or directory: 'configs/none.py'"),
    "folder as a file": (["--config=configs"], "Is a directory: 'configs'"),
    "missing file and a key": (
        ["--config=configs/none.py", "--config.seed=1"],
        "No such file or directory: 'configs/none.py'",
    ),
    "unknown model": (["--config=configs/ptb.py:vae_grus"], "did you mean vae_gru?"),
    "unknown model and a key": (
        ["--config=configs/ptb.py:vae_grus", "--config.seed=1"],
        "did you mean vae_gru?",
    ),
    "key without a config": (["--config.seed=1"], "config"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_message_with_status_2(parse, name):
    arguments, words = MISTAKES[name]
    status, errors, _ = parse(*arguments)
    assert status == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors
    assert "Traceback" not in errors


CONFIG_FILES = {
    "syntax": ("def get_config(:\n", "line 1"),
    "misspelt key": ("    config.model.lattent_dim = 3\n", "line 4: AttributeError: Did you mean"),
    "wrong type": ("    config.model.dim = 'wide'\n", "line 4: TypeError: "),
    "wrong value": ("    config.model.dim = int('wide')\n", "line 4: ValueError: "),
    "unknown name": ("    config.seed = sead\n", "line 4: NameError: name 'sead'"),
    "missing import": ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named"),
    "no function": ("x = 3\n", "get_config"),
    "no return": ("def get_config():\n    pass\n", "does not return a config"),
    "not a config": ("def get_config():\n    return 3\n", "does not return a config"),
    "not text": ("\0", "null bytes"),
}


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_a_mistake_in_a_config_file_is_told_with_status_2(parse, tmp_path, name):
    lines, words = CONFIG_FILES[name]
    head = "from vaetx_jax.config import default_config\ndef get_config():\n"
    head += "    config = default_config()\n"
    path = tmp_path / "mine.py"
    path.write_text(head + lines + "    return config\n" if lines.startswith(" ") else lines)
    status, errors, _ = parse(f"--config={path}")
    assert status == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert words in errors
    assert "Traceback" not in errors


def test_a_flag_that_is_needed_is_asked_for(parse):
    parse(DEMO)
    with pytest.raises(ConfigError, match="--workdir is missing"):
        command_line.require("workdir")
    assert parse("--workdir=here")[0] is None
    assert command_line.require("workdir") == "here"


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--config=configs/ptb.py"], "runs/ptb"),
        (["--config=configs/ptb.py:vae_gru"], "runs/ptb-vae_gru"),
        (["--config", "configs/ptb.py:vae_gru", "--config.seed=1"], "runs/ptb-vae_gru"),
        (["--config=configs/ptb.py", "--workdir=elsewhere/mine"], "elsewhere/mine"),
    ],
)
def test_a_run_is_named_after_its_config_file_unless_a_folder_is_given(parse, arguments, folder):
    assert parse(*arguments)[0] is None
    assert command_line.default_workdir("runs") == pathlib.Path(folder)


def test_the_argument_of_a_config_file_makes_no_folders(parse, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("""
from vaetx_jax.config import default_config
def get_config(path):
    return default_config()
""")
    assert parse(f"--config={path}:../a b/c")[0] is None
    assert command_line.default_workdir("runs") == pathlib.Path("runs/mine-..-a-b-c")


# Errors while a command runs --------------------------------------------------------------------


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("the file is empty"), 1, "error: the file is empty\n"),
        (ConfigError("config.seed = -1: must"), 2, "error: config.seed = -1: must\n"),
        (KeyboardInterrupt(), 75, "error: interrupted\n"),
        (OSError(errno.ENOSPC, "No space", "a/b"), 1, "error: a/b: the disk is full; free some"),
        (PermissionError(errno.EACCES, "No", "a/b"), 1, "error: a/b: permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "No", "a/b"), 1, "error: a/b: a part of this path"),
        (OSError(errno.ENOSPC, "No space"), 1, "error: file: the disk is full"),
    ],
)
def test_what_a_user_can_put_right_is_told_without_a_traceback(error, status, words, capsys):
    assert command_line._guarded(raising(error)) == status
    errors = capsys.readouterr().err
    assert errors.startswith(words) and errors.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "a bug")])
def test_our_own_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)):
        command_line._guarded(raising(error))


def test_our_own_bugs_have_a_status_that_a_supervisor_starts_again(capsys):
    assert command_line._status(raising(ValueError("a bug"))) == 70
    assert "ValueError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (75, 75)])
def test_the_status_is_what_the_command_returns(returned, status):
    assert command_line._guarded(lambda: returned) == status


# A process of its own: the real command, as it is typed.
@pytest.mark.slow
def test_the_real_command_refuses_a_misspelt_key_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "vaetx_jax.main", DEMO, f"--workdir={tmp_path / 'run'}"]
    command += ["--config.model.lattent_dim=3"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: unknown key --config.model.lattent_dim")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_command_imports_ends_it_with_75_and_a_line(name):
    code = "import os, signal; from vaetx_jax.runtime import signals; signals.exit_immediately(); "
    code += f"os.kill(os.getpid(), signal.{name}); print('went on')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "interrupted before it began\n"


COMMANDS = ("main", "study", "evaluate", "probe", "generate", "export", "explore")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_interrupted_while_it_imports(command):
    path = ROOT / "vaetx_jax" / f"{command}.py"
    path = path if path.exists() else path.with_suffix("") / "__main__.py"
    before_the_slow_imports, _, _ = path.read_text().partition("# isort: split")
    assert "signals.exit_immediately()" in before_the_slow_imports


# How soon a command answers ----------------------------------------------------------------------

# What takes longer to import than JAX and flax.linen, or imports torch where that is installed.
SLOW_LIBRARIES = (
    "dash",
    "grain",
    "matplotlib",
    "optax",
    "orbax",
    "scipy.stats",
    "sklearn",
    "tensorboardX",
    "tensorflow_datasets",
    "torch",
)


def printed_by(code):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_commands_loads_no_slow_library():
    modules = [
        f"vaetx_jax.{command}"
        if (ROOT / "vaetx_jax" / f"{command}.py").exists()
        else f"vaetx_jax.{command}.__main__"
        for command in COMMANDS
    ]
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    print(module, *[name for name in {SLOW_LIBRARIES} if name in sys.modules])
"""
    assert printed_by(code).splitlines() == modules


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_its_help_without_a_slow_library(command):
    code = f"""
import runpy, sys
sys.argv = ["{command}", "--help"]
try:
    runpy.run_module("vaetx_jax.{command}", run_name="__main__", alter_sys=True)
except SystemExit:
    print("loaded:", *[name for name in {SLOW_LIBRARIES} if name in sys.modules])
"""
    printed = printed_by(code).splitlines()
    assert any("--workdir" in line for line in printed)
    assert printed[-1] == "loaded:"


def test_help_lists_the_flags_that_commands_share():
    printed = printed_by("""
import runpy, sys
sys.argv = ["evaluate", "--help"]
try:
    runpy.run_module("vaetx_jax.evaluate", run_name="__main__", alter_sys=True)
except SystemExit:
    pass
""")
    assert "--data:" in printed and "--text_column:" in printed
