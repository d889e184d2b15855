"""The rows of a data set of the library `datasets`.

    hf://NAME[/CONFIG][:SPLIT]   a data set of the Hugging Face hub, kept in that library's cache
    FOLDER[:SPLIT]               a folder that `save_to_disk` wrote

Without SPLIT it is `train`, or the only one there is. NAME may be USER/NAME. A label that is the
number of a class is read as the class's name, and -1 as no label.
"""

import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from vaetx_jax.data.decoded_lines import Source
from vaetx_jax.data.fields import Fields, columns_in_schema
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.paths import scheme_of

SCHEME = "hf"
_ROWS = 1_024  # read together
_MARKS = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves in a folder


def is_dataset(source: Source) -> bool:
    """Whether a source is one of the hub, or a folder that `save_to_disk` wrote."""
    source = os.fspath(source)
    return scheme_of(source) == SCHEME or is_saved(pathlib.Path(_folder_and_split(source)[0]))


def is_saved(folder: pathlib.Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any((folder.expanduser() / mark).is_file() for mark in _MARKS)


def dataset_rows(
    source: Source, fields: Fields, keys: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number of the row from 1, the chosen columns by name).

    Raises:
      UserError: the library is not installed, there is no such data set, or it lacks the split or a
        column; the hub cannot be reached.
    """
    name = os.fspath(source)
    dataset = _from_hub(name) if scheme_of(name) == SCHEME else _from_folder(name)
    columns = columns_in_schema(name, list(dataset.column_names), fields, keys)
    classes = {
        column: names
        for column in columns.values()
        if (names := getattr(dataset.features[column], "names", None))
    }
    number = 0
    for batch in dataset.select_columns(list(columns.values())).iter(batch_size=_ROWS):
        for values in zip(*(batch[column] for column in columns.values()), strict=True):
            number += 1
            row = dict(zip(columns, values, strict=True))
            for key, column in columns.items():
                if column in classes:
                    row[key] = class_name(row[key], classes[column])
            yield number, row


def class_name(value: Any, names: list[str]) -> Any:
    """The name of the class of that number; None for -1, by which data sets mark a missing one."""
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


@functools.lru_cache(maxsize=8)  # a corpus is read several times, and the hub asked each time
def _from_hub(source: str) -> Any:
    """The split of a data set of the hub."""
    datasets = _library(source)
    name, _, split = source.removeprefix(f"{SCHEME}://").partition(":")
    errors: list[Exception] = []
    for repository, config in _readings(source, name.split("/")):
        # The library would take a folder of that name, in the folder where we are, for it.
        here = pathlib.Path(repository).exists()
        path = f"hf://datasets/{repository}" if here else repository
        try:
            return _choose(source, datasets, datasets.load_dataset(path, config), split)
        except UserError:
            raise
        except Exception as error:  # of several libraries
            errors.append(error)
            if not isinstance(error, OSError):  # there is one of that name
                break
    raise _not_loaded(source, datasets, errors)


def _readings(source: str, parts: list[str]) -> list[tuple[str, str | None]]:
    """The possible meanings of a name, as (repository, configuration), the likelier first."""
    if not all(parts) or len(parts) > 3:
        raise UserError(f"{source}: give {SCHEME}://NAME[/CONFIG][:SPLIT], NAME as on the hub")
    if len(parts) == 1:
        return [(parts[0], None)]
    if len(parts) == 3:
        return [("/".join(parts[:2]), parts[2])]
    return [("/".join(parts), None), (parts[0], parts[1])]  # USER/NAME, or NAME/CONFIG


def _from_folder(source: str) -> Any:
    """The split of a folder that `save_to_disk` wrote."""
    datasets = _library(source)
    folder, split = _folder_and_split(source)
    try:
        found = datasets.load_from_disk(str(pathlib.Path(folder).expanduser()))
    except Exception as error:  # of several libraries
        raise UserError(
            f"{source}: the data set cannot be read ({_in_one_line(error)}). Save it again."
        ) from error
    return _choose(source, datasets, found, split)


def _choose(source: str, datasets: Any, found: Any, split: str) -> Any:
    """The split of what has been loaded.

    Raises:
      UserError: there is no such split, or it is not said which of several.
    """
    if not isinstance(found, datasets.DatasetDict):
        own = str(getattr(found, "split", None) or "")
        if split and split != own:
            raise UserError(f"{source}: this data set has no splits. Leave out :{split}.")
        return found
    names = list(found)
    if not split:
        split = names[0] if len(names) == 1 else "train"
    if split not in names:
        listed = ", ".join(map(str, names))
        raise UserError(f"{source}: no split {split!r}; it has {listed}. Give one behind a colon.")
    return found[split]


def _folder_and_split(source: str) -> tuple[str, str]:
    """FOLDER and SPLIT; a folder whose own name holds a colon is taken as it is."""
    folder, colon, split = source.rpartition(":")
    if not colon or "/" in split or pathlib.Path(source).expanduser().exists():
        return source, ""
    return folder, split


def _library(source: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{source}: this needs the library datasets; pip install 'vaetx-jax[hf]'"
        ) from None
    from huggingface_hub.utils import logging

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.set_verbosity_error()  # what it retries is said once, by us
    return datasets


def _not_loaded(source: str, datasets: Any, errors: list[Exception]) -> UserError:
    """The error of a data set of the hub that cannot be had."""
    # What is wrong with one that is there; else with the likelier reading of the name.
    error = next((error for error in errors if not isinstance(error, OSError)), errors[0])
    why = _in_one_line(error)
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        advice = "Check the name; a private one needs `hf auth login`."
    elif isinstance(error, ConnectionError):
        advice = (
            "There is no network, or the name is wrong, and it is not in the cache of this machine."
            " Elsewhere, save_to_disk writes a folder that can be read here."
        )
    else:
        advice = f"Write {SCHEME}://NAME/CONFIG:SPLIT as its page on the hub has them."
    return UserError(f"{source}: the data set cannot be loaded from the hub ({why}). {advice}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
