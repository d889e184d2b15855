"""The command that trains, started without a folder of its own."""

import sys

import pytest
from absl import flags
from ml_collections import config_flags

from tests.helpers.paths import REPOSITORY
from vaetx_jax import command_line, main
from vaetx_jax.config import stored
from vaetx_jax.errors import UserError

# The library loads config files so.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def start(config, monkeypatch, tmp_path, capsys):
    """Runs the command on tiny.py in an empty folder; gives (status, what was printed)."""
    few = config.copy_and_resolve_references()
    few.train.steps, few.evaluation.iw_samples = 4, 0
    (tmp_path / "tiny.json").write_text(stored.to_json(few))
    (tmp_path / "tiny.py").write_text(
        "import pathlib\n"
        "from vaetx_jax.config.stored import read_config\n"
        "def get_config():\n"
        "    return read_config(pathlib.Path('tiny.json'))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(REPOSITORY)

    def started(*arguments):
        argv = ["main", "--config=tiny.py", *arguments]
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", None, "Settings.", flag_values=values)
        flags.DEFINE_string("workdir", None, "Folder.", flag_values=values)
        with monkeypatch.context() as patched:  # libraries look for flags of their own later
            patched.delitem(sys.modules, "config_config", raising=False)  # of the start before
            patched.setattr(flags, "FLAGS", values)
            patched.setattr(sys, "argv", argv)
            command_line._parse(argv)
            folder = command_line.default_workdir("runs")
        return main.run(values.config, folder), capsys.readouterr().out

    return started


@pytest.mark.slow
def test_the_same_command_without_a_folder_resumes_its_run(start, tmp_path):
    status, printed = start()
    assert status == 0
    assert "folder     runs/tiny" in printed.splitlines()[:2]
    assert (tmp_path / "runs/tiny/evaluation.json").exists()
    status, printed = start("--config.train.steps=6")
    assert status == 0
    assert "after step 4" in printed


def test_another_run_of_the_same_name_is_refused(start):
    start()
    with pytest.raises(UserError, match="runs/tiny: the run in this folder has other settings"):
        start("--config.model.dim=16")
