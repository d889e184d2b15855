"""What all tests share: strict JAX, compiled programs, a tiny run, the real corpora."""

import gc
import os
import pathlib
import signal

import pytest

from tests.helpers.paths import REPOSITORY

# Most of the tests' time is compilation. Half of that makes programs faster that run once; and what
# one process has compiled, the other workers, the commands that tests start and the next run of the
# tests need not compile again. JAX reads these when it is imported, and so do the commands.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
from ml_collections import ConfigDict

from tests.helpers.tiny_run import fit, tiny_config
from vaetx_jax.runtime.signals import StopSignals

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing leaves millions of live objects, and to go through them as often as Python does by default
# takes a tenth of the time.
gc.set_threshold(50_000)

# A script's background jobs, and all that they start, ignore SIGINT, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="no slow tests, and of a test with parameters the first set only: for a second Python",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    firsts: dict[str, pytest.Item] = {}
    for item in items:
        firsts.setdefault(item.nodeid.partition("[")[0], item)
    kept = [item for item in firsts.values() if not item.get_closest_marker("slow")]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


@pytest.fixture(autouse=True)
def not_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop signal counts for its whole process, and must not count for the tests to come."""
    monkeypatch.setattr(StopSignals, "asked_at", None)


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of the public corpora; the test is skipped where it is missing."""
    folder = pathlib.Path(os.environ.get("VAETX_DATA", REPOSITORY / ".." / "shared" / "data"))
    if not (folder / "ptb" / "train.txt").is_file():
        pytest.skip(f"no real corpora under {folder}: set VAETX_DATA to their folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    """The settings of a tiny run, with a cache of its own."""
    return tiny_config(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def trained(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The work folder of that run, trained to its end; nothing may be written there."""
    folder = tmp_path_factory.mktemp("trained")
    fit(config, folder)
    return folder
