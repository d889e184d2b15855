"""The installed program `vaetx`: `vaetx train ...` is `python -m vaetx_jax.main ...`, and so on."""

import difflib
import os
import sys

from vaetx_jax.version import __version__

# Command -> (its module, what it does).
COMMANDS = {
    "train": ("main", "train a model, then evaluate it"),
    "evaluate": ("evaluate", "all metrics of a trained model"),
    "probe": ("probe", "linear classifiers on the latent"),
    "generate": ("generate", "sample, reconstruct, interpolate, encode, search"),
    "study": ("study", "the paper's tables and figures"),
    "export": ("export", "a trained model as a folder to share"),
    "explore": ("explore", "a trained model as a page in the browser"),
}
_LIST = "\n".join(
    f"    {name:10}{what:50}python -m vaetx_jax.{module}"
    for name, (module, what) in COMMANDS.items()
)
_USAGE = f"""vaetx COMMAND --flag=value ...   or its module:

{_LIST}

    vaetx train --config=text --config.data.train=sentences.txt
    vaetx generate --workdir=runs/text sample --count=5

vaetx COMMAND --help says what a command takes."""


def main() -> int:
    """Replaces this process by the command's module, with the flags as they are.

    Returns:
      The exit status where there is no command to run.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if _answers(name):
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}{hint}", file=sys.stderr)
        return 2
    # -P: no file of the current folder is taken for a module.
    module = f"vaetx_jax.{COMMANDS[name][0]}"
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def list_commands() -> int:
    """Prints the commands; runs none. `python -m vaetx_jax` is this.

    Returns:
      The exit status: 2 where something else was asked for.
    """
    name, *rest = sys.argv[1:] or ["--help"]
    if not rest and _answers(name):
        return 0
    given = " ".join(sys.argv[1:])
    print(
        f"error: vaetx_jax itself takes no {given!r}; its commands are\n\n{_LIST}", file=sys.stderr
    )
    return 2


def _answers(name: str) -> bool:
    """Prints the help or the version where a word asks for it; whether it does."""
    if name in ("--help", "-h", "help"):
        print(_USAGE)
    elif name == "--version":
        print(f"vaetx_jax {__version__}")
    else:
        return False
    return True
