"""The installed program `vaetx`: `vaetx train ...` is `python -m vaetx_jax.main ...`, and so on."""

import difflib
import os
import sys

from vaetx_jax.version import __version__

COMMANDS = {
    "train": "main",
    "evaluate": "evaluate",
    "probe": "probe",
    "generate": "generate",
    "study": "study",
    "export": "export",
    "explore": "explore",
}
_USAGE = f"""vaetx COMMAND --flag=value ...   ({", ".join(COMMANDS)})

    vaetx train --config=text --config.data.train=sentences.txt
    vaetx generate --workdir=runs/text sample --count=5

vaetx COMMAND --help says what a command takes."""


def main() -> int:
    """Replaces this process by the command's module, with the flags as they are.

    Returns:
      The exit status where there is no command to run.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_USAGE)
        return 0
    if name == "--version":
        print(f"vaetx_jax {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}{hint}", file=sys.stderr)
        return 2
    # -P: no file of the current folder is taken for a module.
    module = f"vaetx_jax.{COMMANDS[name]}"
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])
