"""Checkpoints of a few bytes, saved in the order in which a run does it."""

import pathlib

from vaetx_jax.runtime.manifest import write_manifest
from vaetx_jax.runtime.store import Store


def save(folder: pathlib.Path, step: int, content: str = "", parent: str = "checkpoints") -> None:
    """Saves a checkpoint as a run does: whole, by a rename, after its row of metrics."""
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f"{step}\n")
    writing = folder / parent / f"writing-{step}"
    (writing / "state" / "d").mkdir(parents=True)
    for name in ("state/a", "state/b", "state/d/c"):
        (writing / name).write_text(f"{content or step} {name}")
    write_manifest(writing, {"step": step})
    writing.rename(folder / parent / str(step))


def steps_in(store: Store) -> list[int]:
    """The checkpoints that a start from the store would find."""
    return sorted(
        int(name.split("/")[-2]) for name in store.list() if name.endswith("/manifest.json")
    )
