"""The checkpoints of a run; the only module that imports orbax.

Checkpoint N means N updates done. The latest two and the best are kept. Each is a folder that
appears whole, by a rename, with a manifest of every file's sha256, and disappears by a rename, too:
a kill at any moment leaves a checkpoint or none, and later damage is detected. A state is copied to
the host's memory and written by a thread of the first process, while the training goes on.
"""

import contextlib
import logging
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.models.freeze import join, split
from vaetx_jax.models.language_model import PARAMS, Variables
from vaetx_jax.runtime import processes
from vaetx_jax.runtime.background import Background
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.manifest import check_files, read_facts, rename_damaged, write_manifest
from vaetx_jax.training import frozen_file
from vaetx_jax.training.checkpoint_info import CheckpointInfo, best, superseded, to_json
from vaetx_jax.training.checkpoint_tree import (
    COLLECTIONS,
    from_tree,
    in_parts_of,
    on_host,
    to_tree,
    variables_tree,
)
from vaetx_jax.training.orbax_messages import GONE, is_relevant, reason
from vaetx_jax.training.state import TrainState

_STATE = "state"
_WRITING, _DELETING = "writing-", "deleting-"  # before a step, while it is not one


class UnsavedError(UserError):
    """A checkpoint could not be written; earlier ones are untouched."""


class Checkpoints:
    """The checkpoints of one run.

    When they are opened for writing, every file is compared with its manifest, and a damaged
    checkpoint is renamed with a warning; a reader checks the checkpoint that it restores.

    Args:
      folder: WORKDIR/checkpoints.
      writable: whether steps will be saved and old ones deleted.
      freeze: the parameters that are saved once, outside of the checkpoints (`models.freeze`).
    """

    def __init__(self, folder: pathlib.Path, *, writable: bool, freeze: str = "none"):
        # Orbax warns that a step saved on other devices may not fit (the devices to restore onto
        # are always given) and that a folder opened for reading is read only; its threads and
        # asyncio log, with a traceback, errors that are raised here as well.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).addFilter(is_relevant)
        if not writable and not folder.is_dir():
            raise UserError(f"{folder}: no checkpoints here; train first or give another folder")
        self.folder = folder.resolve()  # orbax wants absolute paths
        self._writable, self._freeze = writable, freeze
        # The first process looks for all: they must agree, and each file is read once.
        found = self._survey() if processes.is_first() else None
        self._saved = {
            facts["step"]: CheckpointInfo(**facts) for facts in processes.from_first(found)
        }
        self._background = Background()
        self._pending: CheckpointInfo | None = None  # what it is writing
        self._inode = self.folder.parent.stat().st_ino  # another folder may take its name

    def save(self, state: TrainState, info: CheckpointInfo) -> None:
        """Saves a state under its step; an existing step is left as it is.

        Raises:
          UnsavedError: it could not be written, or the one before; no part of it remains.
        """
        self.begin(state, info)
        self.finish()

    def begin(self, state: TrainState, info: CheckpointInfo) -> None:
        """Begins to save a state, as `save` does; it is written while the caller goes on.

        Raises:
          UnsavedError: the one before could not be written.
        """
        self.finish()
        if info.step in self._saved:
            return
        trained, frozen = split(state.params, self._freeze)
        frozen, tree = on_host(frozen), on_host(to_tree(state.with_params(trained)))
        self._pending = info
        if processes.is_first():
            self._background.start(lambda: self._write(tree, frozen, info))

    def is_finished(self) -> bool:
        """Whether `finish` would not wait."""
        return self._background.is_done()

    def finish(self) -> CheckpointInfo | None:
        """Waits for the state that is being saved, and returns what it is; None: there is none.

        Raises:
          UnsavedError: it could not be written; no part of it remains.
        """
        info, self._pending = self._pending, None
        if info is None:
            return None
        error = self._background.wait()
        why = processes.from_first(str(error) if error else None)
        if why is not None:
            raise UnsavedError(why) from error
        self._saved[info.step] = info
        for step in superseded(self._saved):
            del self._saved[step]
        return info

    def _write(self, tree: Any, frozen: Any, info: CheckpointInfo) -> None:
        """Writes a state's files and deletes those of old ones; in a thread of the first process.

        Raises:
          UnsavedError: it could not be written; no part of it remains.
        """
        import orbax.checkpoint as ocp  # here, because it is slow to import

        path, temporary = self.folder / str(info.step), self.folder / f"{_WRITING}{info.step}"
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="save"
        )
        # Compression takes longer than all the rest, for files that are 8 % smaller.
        handler = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
        try:
            self._check_parent()
            self.folder.mkdir(parents=False, exist_ok=True)
            with ocp.Checkpointer(handler, multiprocessing_options=alone) as writer:
                writer.save(temporary / _STATE, args=ocp.args.PyTreeSave(tree), force=True)
            if frozen:
                frozen_file.save(temporary, self.folder, frozen)
            write_manifest(temporary, to_json(info))
            self._check_parent()
            temporary.rename(path)
        except Exception as error:
            shutil.rmtree(temporary, ignore_errors=True)
            why = reason(error)
            if self._has_moved():
                why = GONE
                with contextlib.suppress(OSError):  # another program's, with files in it
                    self.folder.rmdir()
                    self.folder.parent.rmdir()
            raise UnsavedError(f"{path}: could not be saved: {why}") from error
        for step in superseded({**self._saved, info.step: info}):
            self._delete_files(step)
        for left in self.folder.glob(f"{_WRITING}*"):  # orbax may have written on after an error
            shutil.rmtree(left, ignore_errors=True)

    def _check_parent(self) -> None:
        """Checks that the run's folder is still there: orbax would create it again, nearly empty.

        Raises:
          OSError: it cannot be read; FileNotFoundError: it is missing, or another took its name.
        """
        if self.folder.parent.stat().st_ino != self._inode:
            raise FileNotFoundError(f"No such file or directory: {self.folder.parent}")

    def _has_moved(self) -> bool:
        try:
            self._check_parent()
        except FileNotFoundError:
            return True
        except OSError:  # no permission, a server that does not answer
            return False
        return False

    def steps(self) -> list[int]:
        """The steps that are saved, in order."""
        return sorted(self._saved)

    def latest(self) -> int | None:
        """The last step, or None."""
        return max(self._saved, default=None)

    def best(self) -> int | None:
        """The step with the lowest validation perplexity among the candidates, or None."""
        return best(self._saved)

    def best_score(self) -> tuple[int, float] | None:
        """(step, validation perplexity) of the best candidate, or None."""
        step = self.best()
        return None if step is None else (step, self._saved[step].score)

    def forget_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps, which will be trained again."""
        for later in [s for s in self.steps() if s > step]:
            self._delete(later)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of a step, on the devices of `like`.

        Raises:
          DamagedError: it holds another tree, or cannot be read.
        """
        import orbax.checkpoint as ocp

        trained = self._without_frozen(step, like.params)
        own, handler = to_tree(like.with_params(trained)), ocp.StandardCheckpointHandler()

        def args(folder: pathlib.Path) -> Any:
            stored = in_parts_of(own, dict(handler.metadata(folder)))
            abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, stored)
            return ocp.args.StandardRestore(abstract)

        state = from_tree(in_parts_of(self._read(step, handler, args), own))
        return state.with_params(self._with_frozen(step, state.params, like.params))

    def restore_variables(self, step: int, like: Variables) -> Variables:
        """The model's variables of a step, without the rest, on the devices of `like`.

        Raises:
          DamagedError: a file of the checkpoint was changed since it was written.
        """
        import orbax.checkpoint as ocp

        trained = self._without_frozen(step, like[PARAMS])
        tree = jax.tree.map(
            ocp.utils.to_shape_dtype_struct, variables_tree({**like, PARAMS: trained})
        )
        shardings = jax.tree.map(lambda x: ocp.ArrayRestoreArgs(sharding=x.sharding), tree)
        args = ocp.args.PyTreeRestore(tree, restore_args=shardings, partial_restore=True)
        tree = self._read(step, ocp.PyTreeCheckpointHandler(), lambda _: args)
        params = self._with_frozen(step, tree[PARAMS], like[PARAMS])
        return {PARAMS: params, **tree.get(COLLECTIONS, {})}

    def _without_frozen(self, step: int, params: Any) -> Any:
        """The parameters that the checkpoint of a step holds itself, of all those of a model."""
        frozen = frozen_file.names(self.folder / str(step))
        flat = flatten_dict(params)
        return unflatten_dict({path: flat[path] for path in flat if path not in frozen})

    def _with_frozen(self, step: int, trained: Any, like: Any) -> Any:
        return join(trained, frozen_file.load(self.folder / str(step), self.folder, like))

    def _read(self, step: int, handler: Any, args: Callable[[pathlib.Path], Any]) -> Any:
        """Restores a step's state by the arguments that go with its folder."""
        import orbax.checkpoint as ocp

        path = self.folder / str(step)
        try:
            if not self._writable and processes.is_first():
                check_files(path)
            with ocp.Checkpointer(handler) as reader:
                return reader.restore(path / _STATE, args=args(path / _STATE))
        except Exception as error:
            what = error if isinstance(error, DamagedError) else f"{path}: {reason(error)}"
            others = ", ".join(str(s) for s in self.steps() if s != step)
            rest = f"there are those of the steps {others}" if others else "it is the only one"
            raise DamagedError(f"{what}; this checkpoint cannot be used, {rest}") from error

    def _survey(self) -> list[dict[str, Any]]:
        """The facts of all intact checkpoints; a writer removes what a kill left."""
        found = []
        if self._writable:
            self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith((_WRITING, _DELETING)) and self._writable:
                shutil.rmtree(path, ignore_errors=True)  # a kill left it
            elif path.name.isdecimal():
                try:
                    facts = read_facts(path)
                    if facts.get("step") != int(path.name):
                        raise DamagedError(f"{path}: its manifest is of step {facts.get('step')}")
                    if self._writable:
                        check_files(path)
                    found.append(facts)
                except DamagedError as error:
                    self._skip_damaged(path, error)
        return found

    def _skip_damaged(self, path: pathlib.Path, error: DamagedError) -> None:
        if not self._writable:
            notify(f"warning: {error}; this checkpoint is skipped")
            return
        renamed = rename_damaged(path, f"damaged-{path.name}")
        notify(f"warning: {error}; this checkpoint was set aside as {renamed}")

    def _delete(self, step: int) -> None:
        del self._saved[step]
        if processes.is_first():
            self._delete_files(step)

    def _delete_files(self, step: int) -> None:
        doomed = self.folder / f"{_DELETING}{step}"
        with contextlib.suppress(OSError):  # it may stay; the next start tries again
            (self.folder / str(step)).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def choose(checkpoints: Checkpoints, wanted: str) -> tuple[int, str]:
    """(the step of a checkpoint, a phrase that says which it is).

    Args:
      wanted: `best`, `last` or a number.

    Raises:
      UserError: there is no such checkpoint.
    """
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f"{checkpoints.folder}: no checkpoint here yet; train first")
    best = checkpoints.best()
    if wanted == "best" and best is not None:
        return best, "best"
    if wanted == "best":
        return steps[-1], "last (no validation at the end of a cycle yet, so there is no best)"
    if wanted == "last":
        return steps[-1], "last"
    if wanted.isdecimal() and int(wanted) in steps:
        return int(wanted), "chosen"
    available = ", ".join(map(str, steps))
    raise UserError(
        f"{checkpoints.folder}: no checkpoint {wanted!r}; take best, last or one of the steps "
        f"{available}"
    )
