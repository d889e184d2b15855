"""A record of the batch of a step that was not finite, so that the cause can be found."""

import json
import pathlib

import jax

from vaetx_jax.data.bucketing import Batch
from vaetx_jax.runtime.atomic import write_text

FOLDER = "nonfinite"


def keep_batch(folder: pathlib.Path, done: int, batch: Batch, *, pad_id: int) -> pathlib.Path:
    """Writes the sentences of an update's batch; each process writes its own share.

    Args:
      folder: the run's folder.
      done: the number of the update, counted from 1.
      batch: the update's batch, whose filler rows are left out.
      pad_id: the id of [PAD], left out.

    Returns:
      The file, JSON: `step`, and for each sentence its `row` in the training split and its `ids`.
    """
    share = f"-process-{jax.process_index()}" if jax.process_count() > 1 else ""
    path = folder / FOLDER / f"step-{done}{share}.json"
    path.parent.mkdir(exist_ok=True)
    sentences = [
        {"row": int(row), "ids": [int(token) for token in ids if token != pad_id]}
        for row, ids in zip(batch["index"], batch["ids"], strict=True)
        if row >= 0
    ]
    write_text(path, json.dumps({"step": done, "sentences": sentences}, indent=1) + "\n")
    return path
