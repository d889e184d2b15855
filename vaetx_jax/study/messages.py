"""The messages between a study and the process that trains its cells: one line of JSON each."""

import dataclasses
import enum
import json
import pathlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class CellOrder:
    """One cell to work on.

    Attributes:
      folder: the cell's folder.
      config: the settings of its run, as plain values.
      train: train it first; otherwise only evaluate it again.
      probe: probe its latent as well.
    """

    folder: pathlib.Path
    config: dict[str, Any]
    train: bool
    probe: bool


@dataclasses.dataclass(frozen=True)
class Order:
    """Cells that differ in seed and annealing alone, for one process.

    Attributes:
      cells: the process works on the first of them, or on several in one program.
      together: the most cells in one program; 0: all on an accelerator, one on a CPU.
    """

    cells: tuple[CellOrder, ...]
    together: int

    def to_json(self) -> str:
        """The order in one line."""
        cells = [{**vars(cell), "folder": str(cell.folder)} for cell in self.cells]
        return json.dumps({"cells": cells, "together": self.together})

    @classmethod
    def from_json(cls, line: str) -> "Order":
        """The order of a line that `to_json` wrote."""
        message = json.loads(line)
        cells = (
            CellOrder(**{**cell, "folder": pathlib.Path(cell["folder"])})
            for cell in message["cells"]
        )
        return cls(tuple(cells), message["together"])


class Outcome(enum.Enum):
    """The end of an attempt at a cell."""

    DONE = "done"
    FAILED = "failed"
    DAMAGED = "damaged"  # its own files are not as they were written


@dataclasses.dataclass(frozen=True)
class Event:
    """The end of an attempt at one cell.

    Attributes:
      cell: the name of the cell's folder.
      outcome: how the attempt ended.
      seconds: its duration; a share of the whole where cells were trained in one program.
      error: one line, empty where the cell is done.
    """

    cell: str
    outcome: Outcome
    seconds: float = 0.0
    error: str = ""

    def to_json(self) -> str:
        """The event in one line."""
        return json.dumps({**vars(self), "outcome": self.outcome.value})

    @classmethod
    def from_json(cls, line: str) -> "Event":
        """The event of a line that `to_json` wrote."""
        message = json.loads(line)
        return cls(**{**message, "outcome": Outcome(message["outcome"])})
