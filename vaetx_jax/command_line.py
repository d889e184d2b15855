"""Flags and errors of all commands: one clear message for a mistake, no traceback."""

import contextlib
import errno
import functools
import itertools
import logging as standard_logging
import os
import pathlib
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from vaetx_jax.config.keys import check_local, expand_paths, flatten, value_of
from vaetx_jax.data.fields import Fields
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime import paths, signals, streams, work_folder
from vaetx_jax.runtime.store import check_url
from vaetx_jax.settings import closest

_SENTENCE_FLAGS = ("input", "corpus", "sentences", "data")  # files, or data sets of the hub
_PATH_FLAGS = ("workdir", "output", "from", "to", *_SENTENCE_FLAGS)
# Those that may be a URL, and how a command that only reads a run has them on this machine.
_FOLDERS = {"workdir": work_folder.reading, "to": work_folder.making}

CRASHED = 70  # exit status: 'not the user's fault'; supervisors start it again

# Errors of the operating system that the user can do something about.
_USERS_MATTER = {
    errno.ENOSPC: "the disk is full; free some space and start again",
    errno.EDQUOT: "your quota is used up; free some space and start again",
    errno.EROFS: "this is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder or change its permissions",
    errno.EPERM: "permission denied; choose another folder or change its permissions",
    errno.EISDIR: "this is a folder, not a file; choose another name",
    errno.EIO: "the disk does not answer (an input/output error); check it and start again",
    errno.ESTALE: "the disk is gone; mount it again and start again",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose another",
}


def run(
    main: Callable[[], int | None], define_flags: Callable[[], None], *, trains: bool = False
) -> None:
    """Runs a command: parses its flags, calls `main`, turns the user's errors into one message.

    Args:
      trains: the command opens its --workdir itself, to write it; for all others a URL's is fetched
        before, and what they write into it is uploaded after.

    Exit status: what `main` returns, 1 or 2 for the user's errors, 75 when stopped, 70 for a fault
    that is not the user's.
    """
    streams.repair()
    quiet()
    define_flags()
    _list_all_in_help()
    work = main if trains else _with_folders(main)
    app.run(lambda _: sys.exit(_status(work)), flags_parser=_parse)


def run_with_words(
    main: Callable[[Sequence[str]], int | None], define_flags: Callable[[], None]
) -> None:
    """Runs a command that takes words besides its flags, in any order: `main` gets the words."""
    streams.repair()
    quiet()
    define_flags()
    _list_all_in_help()
    flags.FLAGS.set_gnu_getopt(True)
    parse = functools.partial(_parse, words=True)

    def start(argv: Sequence[str]) -> None:
        sys.exit(_status(_with_folders(lambda: main(argv[1:]))))

    app.run(start, flags_parser=parse)


def _with_folders(main: Callable[[], int | None]) -> Callable[[], int | None]:
    """The command with the folders of its flags on this machine while it runs."""

    def work() -> int | None:
        with contextlib.ExitStack() as stack:
            for name, opened in _FOLDERS.items():
                if name in flags.FLAGS and flags.FLAGS[name].value and not _holds_sentences(name):
                    path = stack.enter_context(opened(str(flags.FLAGS[name].value)))
                    flags.FLAGS[name].value = str(path)
            return main()

    return work


def _holds_sentences(flag: str) -> bool:
    """Whether a flag names a file of sentences; --to does beside --from, and else a folder."""
    return flag in _SENTENCE_FLAGS or (flag in ("from", "to") and "from" in flags.FLAGS)


def quiet() -> None:
    """Silences the libraries: what they log and warn of is nothing that a user can put right.

    Warnings stay where they were asked for (`python -W`, PYTHONWARNINGS).
    """
    logging.set_verbosity(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        # matplotlib logs besides: of fonts that are missing, for one.
        standard_logging.getLogger("matplotlib").setLevel(standard_logging.ERROR)


def _guarded(main: Callable[[], int | None]) -> int:
    signals.restore_default_handlers()
    try:
        return main() or 0
    except UserError as error:
        return fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return fail("interrupted", signals.STOPPED)
    except BrokenPipeError:
        return _discard_output()
    except OSError as error:
        if error.errno not in _USERS_MATTER:
            raise
        return fail(f"{error.filename or 'file'}: {_USERS_MATTER[error.errno]}", 1)


def _status(main: Callable[[], int | None]) -> int:
    """The exit status; a bug of ours or of a driver keeps its traceback."""
    try:
        return _guarded(main)
    except Exception:
        traceback.print_exc()
        return CRASHED


def _discard_output() -> int:
    """The exit status where the reader of our output is gone: nobody would see a message."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _list_all_in_help() -> None:
    """Makes `--help` list the flags of our other modules too; absl leaves them to `--helpfull`."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("vaetx_jax."):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def fail(message: str, status: int) -> int:
    """Prints an error as all commands do and returns the exit status."""
    print(f"error: {message}", file=sys.stderr)
    return status


def _parse(argv: Sequence[str], *, words: bool = False) -> list[str]:
    """absl's flags, with one clear line for everything that is wrong with them."""
    argv = [_find_config(argument, before) for before, argument in itertools.pairwise(["", *argv])]
    try:
        with _config_errors(argv):
            left = flags.FLAGS(list(argv))
            _check_config()
            _expand_paths()
        if len(left) > 1 and not words:
            # '--config.x false' would otherwise read as true, the rest being dropped in silence.
            raise ConfigError(
                f"left over after the flags: {' '.join(left[1:])}; write --flag=value in one word"
            )
    except UserError as error:
        sys.exit(fail(str(error), error.exit_status))
    except BrokenPipeError:
        sys.exit(_discard_output())
    except SystemExit as stopped:
        # absl ends with 1 after --help; here 1 says that something is wrong.
        sys.exit(0 if _raised_by_absl(stopped) else stopped.code)
    return left


def _raised_by_absl(error: BaseException) -> bool:
    """Whether absl itself ended the program, and not a config file."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_globals.get("__name__") == app.__name__


def _find_config(argument: str, before: str) -> str:
    """The argument, with the file that the package or the clone has for a bare name of a config.

    Args:
      argument: `--config=NAME[:MODEL]`, or what follows `--config`; any other stays as it is.
      before: the argument before it.
    """
    flag, given = re.match(r"(--?config=|)(.*)", argument, re.DOTALL).groups()  # type: ignore[union-attr]
    if not flag and before not in ("--config", "-config"):
        return argument
    name, colon, model = given.partition(":")
    if not name or pathlib.Path(paths.expand(name)).exists():
        return f"{flag}{paths.expand(name)}{colon}{model}"
    bare = pathlib.PurePath(name.removeprefix("configs/").removesuffix(".py") + ".py")
    package = pathlib.Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if not bare.is_absolute() and ".." not in bare.parts and (folder / bare).is_file():
            return f"{flag}{folder / bare}{colon}{model}"
    return argument


@contextlib.contextmanager
def _config_errors(argv: Sequence[str]) -> Any:
    try:
        yield
    except (UserError, BrokenPipeError):
        raise
    except SyntaxError as error:
        raise ConfigError(f"--config: {error.filename}, line {error.lineno}: {error.msg}") from None
    except OSError as error:
        # ml_collections puts what it attempted before the error itself.
        raise ConfigError(f"--config: {_plain(str(error)).rpartition('] ')[2]}") from None
    except Exception as error:
        if place := _place_in_config(error):
            raise ConfigError(place) from None
        if isinstance(error, AttributeError | KeyError):
            raise ConfigError(_unknown_key(argv, error)) from None
        if isinstance(error, flags.Error | TypeError | ValueError):
            raise ConfigError(_plain(str(error))) from None
        raise


def _check_config() -> None:
    """Reads the config: ml_collections keeps an unreadable file's error until then.

    It would also let `--config.GROUP={...}` replace all keys of a group.
    """
    if "config" not in flags.FLAGS or not flags.FLAGS["config"].present:
        return
    config = flags.FLAGS["config"].value
    if not hasattr(config, "to_dict"):
        raise ConfigError("--config: get_config() of this file does not return a config")
    for key in config_flags.get_override_values(flags.FLAGS["config"]):
        if isinstance(value_of(config, key), ConfigDict):
            raise ConfigError(f"--config.{key} is a group of keys; set one of them")


def _expand_paths() -> None:
    """Expands `~` in every flag and setting that is a path: here, once, for all that follows."""
    for name in _PATH_FLAGS:
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        hub = _holds_sentences(name)
        if path and name in _FOLDERS and not hub and paths.scheme_of(path):
            check_url(f"--{name}", path)
        elif path:
            check_local(f"--{name}", path, hub=hub)
            flags.FLAGS[name].value = paths.expand(path)
    if "config" in flags.FLAGS and flags.FLAGS["config"].present:
        expand_paths(flags.FLAGS["config"].value)


def _place_in_config(error: BaseException | None) -> str | None:
    """The line of the config file in which an error arose, and the error; None if elsewhere."""
    place = None
    while error:  # ml_collections and absl raise their own after it
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") == "config_config":
                what = _plain(str(error.args[0] if error.args else ""))
                hint = re.search(r"Did you mean .*\?", what)  # before it stands all of the config
                what = f"{type(error).__name__}: {hint[0] if hint else what}"
                place = f"--config: {frame.f_code.co_filename}, line {line}: {what}"
        error = error.__cause__ or error.__context__
    return place


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _unknown_key(argv: Sequence[str], error: Exception) -> str:
    """Names the misspelt key on the command line, and the closest existing one."""
    with contextlib.suppress(Exception):
        config = _bare_config(argv)
        known = flatten(config.to_dict())
        for argument in argv[1:]:
            match = re.match(r"--?(?:no)?config\.([\w.]+)", argument)
            if match and match[1] not in known:
                key = match[1]
                guess = closest(key, known)
                return f"unknown key --config.{key}{guess}; see vaetx_jax/config/defaults.py"
    return f"--config: {_plain(str(error))}"


def _bare_config(argv: Sequence[str]) -> Any:
    """The config before the command line's changes."""
    plain = [argv[0]]
    for argument, after in zip(argv[1:], [*argv[2:], ""], strict=True):
        if re.match(r"--?config=", argument):
            plain.append(argument)
        elif argument in ("--config", "-config"):
            plain += [argument, after]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=plain)
    values(plain, known_only=True)
    return values.config


def default_workdir(root: str) -> pathlib.Path | str:
    """The folder of `--workdir`, perhaps a URL, or, without it, `ROOT/NAME`.

    NAME is that of the config file.

    `--config=configs/ptb.py` gives `runs/ptb`, and with a model behind the colon,
    `--config=configs/ptb.py:vae_gru`, `runs/ptb-vae_gru`.

    Args:
      root: the folder of all such folders, `runs` or `studies`.
    """
    if paths.scheme_of(flags.FLAGS.workdir or ""):
        return str(flags.FLAGS.workdir)
    if flags.FLAGS.workdir:
        return pathlib.Path(flags.FLAGS.workdir)
    path, _, argument = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
    name = f"{pathlib.PurePath(path).stem}-{argument}" if argument else pathlib.PurePath(path).stem
    return pathlib.Path(root) / re.sub(r"[^\w.=,-]", "-", name)


def status_folder(root: str) -> str:
    """The folder that `--status` reports on: as for `default_workdir`, or `root` without flags."""
    named = flags.FLAGS.workdir or flags.FLAGS.config
    return str(default_workdir(root)) if named else root


def define_columns(values: flags.FlagValues | None = None) -> None:
    """The flags that say which columns of a file are read."""
    given: dict[str, Any] = {} if values is None else {"flag_values": values}
    text = "A file's column of sentences, by name or number; by default the run's own, or text."
    flags.DEFINE_string("text_column", "", text, **given)
    label = "Its column of labels, or several with commas; by default the run's own, or label."
    flags.DEFINE_string("label_column", "", label, **given)


def define_data() -> None:
    """The flags that give a file of sentences instead of a run's corpus."""
    flags.DEFINE_string("data", None, "A file of sentences instead of the run's corpus.")
    define_columns()


def data_name() -> str:
    """The name by which the sentences of --data are called; empty without it.

    Raises:
      ConfigError: columns are given without a file.
    """
    if not flags.FLAGS.data:
        if fields():
            raise ConfigError("--text_column and --label_column go with --data=FILE")
        return ""
    name = pathlib.PurePath(flags.FLAGS.data).name
    return re.sub(r"[^\w.=,-]", "-", name)


def fields() -> Fields:
    """The columns that those flags choose."""
    return Fields.of(flags.FLAGS.text_column, flags.FLAGS.label_column)


def require(flag: str) -> str:
    """The value of a required flag."""
    value = flags.FLAGS[flag].value
    if not value:
        raise ConfigError(f"--{flag} is missing; see --help")
    return value
