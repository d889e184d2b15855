"""A stand-in for the library `datasets`, with a hub that is a dict: no network, no installation."""

import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest


class DatasetNotFoundError(FileNotFoundError):
    """As the library's: there is no data set of that name, or it is private."""


class ClassLabel:
    """A feature whose values are numbers of classes."""

    def __init__(self, names: Sequence[str]):
        self.names = list(names)


class Dataset:
    """One split."""

    def __init__(self, columns: Mapping[str, list[Any]], classes: Mapping[str, Sequence[str]]):
        self._columns = dict(columns)
        self.column_names = list(columns)
        self.features = {name: None for name in columns}
        self.features |= {name: ClassLabel(names) for name, names in classes.items()}

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def select_columns(self, names: list[str]) -> "Dataset":
        return Dataset({name: self._columns[name] for name in names}, {})

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        for start in range(0, len(self._columns[self.column_names[0]]), batch_size):
            stop = start + batch_size
            yield {name: values[start:stop] for name, values in self._columns.items()}


class DatasetDict(dict[str, Dataset]):
    """Several splits by name."""


class Hub:
    """What the hub holds.

    Attributes:
      holds: (name, configuration or None) -> its splits, or the error of loading it.
      asked: what was asked for, in order.
    """

    def __init__(self) -> None:
        self.holds: dict[tuple[str, str | None], DatasetDict | Exception] = {}
        self.asked: list[tuple[str, str | None]] = []

    def load_dataset(self, name: str, config: str | None = None) -> DatasetDict:
        self.asked.append((name, config))
        found = self.holds.get((name, config), DatasetNotFoundError(f"no {name}\non the Hub"))
        if isinstance(found, Exception):
            raise found
        return found


def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Puts the stand-in in the place of the library."""
    hub, library = Hub(), types.ModuleType("datasets")
    library.__dict__.update(
        DatasetDict=DatasetDict,
        load_dataset=hub.load_dataset,
        disable_progress_bars=lambda: None,
        logging=types.SimpleNamespace(set_verbosity_error=lambda: None),
        exceptions=types.SimpleNamespace(DatasetNotFoundError=DatasetNotFoundError),
    )
    monkeypatch.setitem(sys.modules, "datasets", library)
    return hub
