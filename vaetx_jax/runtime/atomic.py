"""Files that are written whole or not at all."""

import os
import pathlib


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C, too, leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise
