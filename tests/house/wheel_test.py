"""The wheel, installed into a fresh environment, works from an empty folder."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.helpers.paths import REPOSITORY

NEEDED = ("vaetx_jax", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
SENTENCES = [f"the {a} {b} {c}" for a in ("old", "new") for b in ("cat", "dog") for c in "abcdef"]
SMALL = {"model.dim": 8, "model.latent_dim": 4, "model.layers": 1, "tokenizer.vocab_size": 60}
SMALL |= {"data.groups": 1, "data.max_len": 16, "train.steps": 2, "samples.count": 1}
SMALL |= {"evaluation.iw_samples": 0}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    source = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, source / name)
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", f"--wheel-dir={folder}"]
    run(source, sys.executable, "-m", "pip", "wheel", *options, ".")
    (path,) = folder.glob("*.whl")
    return path


def run(folder: pathlib.Path, *command: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_configs_types_and_no_test(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "configs").rglob("*.py")}
    assert {f"vaetx_jax/{path.as_posix()}" for path in configs} <= names
    assert "vaetx_jax/py.typed" in names
    modules = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "vaetx_jax").rglob("*.py")}
    assert {path.as_posix() for path in modules} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "configs"))]


@pytest.mark.slow
def test_an_installed_wheel_trains_generates_and_exports(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    install = ["install", "--no-deps", "--no-index", "-q", str(wheel)]
    run(tmp_path, sys.executable, "-m", "pip", f"--python={python}", *install)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    # The dependencies, which no test downloads, are those of this environment.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "mine.txt").write_text("".join(f"{text}\n" for text in SENTENCES))
    (empty / "random.py").write_text("raise SystemExit('a file of the folder was imported')\n")
    vaetx = str(python.with_name("vaetx"))
    quick = {"JAX_PLATFORMS": "cpu", "VAETX_CACHE": str(tmp_path / "cache")}
    small = [f"--config.{key}={value}" for key, value in SMALL.items()]
    train = ["--config=text", "--config.data.train=mine.txt", "--workdir=run", *small]
    printed = run(empty, vaetx, "train", *train, **quick)
    assert "trained 2 steps" in printed
    where = run(empty, str(python), "-P", "-c", "import vaetx_jax; print(vaetx_jax.__file__)")
    assert where.startswith(str(site))
    samples = run(empty, vaetx, "generate", "--workdir=run", "sample", "--count=2", **quick)
    assert len(samples.splitlines()) == 2
    run(empty, vaetx, "export", "--workdir=run", "--to=shared", **quick)
    assert (empty / "shared" / "model.safetensors").is_file()
    assert "vaetx COMMAND" in run(empty, vaetx, "--help")
