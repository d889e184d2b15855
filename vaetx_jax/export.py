"""`python -m vaetx_jax.export --workdir=DIR --to=FOLDER`: a trained model as a folder to share.

It holds the parameters as safetensors, the config without paths of this machine, the tokenizer, the
evaluation if there is one of this checkpoint, a model card (README.md) and the sha256 of all that
`vaetx_jax.load(FOLDER)` reads. Neither the optimizer's state nor a sentence of the corpus is in it.
"""

from vaetx_jax import stop_signals

if __name__ == "__main__":
    stop_signals.leave_at_once()

# isort: split
import json
import os
import pathlib
import tempfile
from typing import Any

from absl import flags

from vaetx_jax import command_line, shared_folder
from vaetx_jax.api import TextModel, load
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.model_card import model_card
from vaetx_jax.writer import write_text

CARD = "README.md"
EVALUATION = "evaluation.json"


def export(model: TextModel, folder: str | pathlib.Path) -> pathlib.Path:
    """Writes a model to a new folder, whole or not at all.

    Raises:
      UserError: the folder holds something already, or cannot be made.
    """
    folder = pathlib.Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--to={folder}: there is something already; give a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    evaluation = _evaluation(model)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        fresh = pathlib.Path(temporary) / "fresh"
        fresh.mkdir()
        step, label = model.step, model.label
        shared_folder.write(fresh, model.parts, model.params, step=step, label=label)
        if evaluation is not None:
            write_text(fresh / EVALUATION, json.dumps(evaluation, indent=2) + "\n")
        write_text(fresh / CARD, model_card(model.parts, evaluation, step=step, label=label))
        os.replace(fresh, folder)  # an empty folder gives way
    return folder


def _evaluation(model: TextModel) -> dict[str, Any] | None:
    """What was measured of this very checkpoint, on the test split rather than another."""
    for name in ("evaluation-test.json", EVALUATION):
        try:
            kept = json.loads((model.parts.folder / name).read_text(encoding="utf-8"))
            if kept["checkpoint"] == model.step:
                return kept
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", None, "The folder of a trained run.")
    flags.DEFINE_string("checkpoint", "best", "best, last or a step.")
    flags.DEFINE_string("to", None, "The folder to make.")


def main() -> None:
    """The command."""
    workdir, to = (pathlib.Path(command_line.require(name)) for name in ("workdir", "to"))
    if to.resolve() == workdir.resolve():
        raise ConfigError("--to is --workdir; give a new folder")
    folder = export(load(workdir, checkpoint=flags.FLAGS.checkpoint), to)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        print(f"{path.stat().st_size:>12,}  {path}")
    if not (folder / EVALUATION).exists():
        print(
            "note: this checkpoint was not evaluated, so the card has no numbers; "
            f"python -m vaetx_jax.evaluate --workdir={workdir}, then export again"
        )


if __name__ == "__main__":
    command_line.run(main, define_flags)
