"""The corpus `text`: a user's files and held-out shares, assigned to splits."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vaetx_jax.data.corpora.splits import SPLITS, rank_splits, split_of
from vaetx_jax.data.decoded_lines import OPENERS, LineError
from vaetx_jax.data.fields import ANY_FIELDS, LABEL, TEXT, Fields, how_to_choose
from vaetx_jax.data.line_reader import DATASET, KINDS, Line, kind_of, read_lines, refuse
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.console import counted
from vaetx_jax.runtime.manifest import sha256_of

# More is a column of something else. Class numbers are kept as 16-bit integers downstream.
MAX_CLASSES = 1_000
# A corpus of so few different sentences whose hashes leave a split empty is split by their ranks.
SMALL = 1_000
ON_ERROR = ("fatal", "skip")


class Survey(NamedTuple):
    """The facts of a corpus, known once all of its files have been read.

    Attributes:
        classes: label field -> its class names, sorted; empty without labels.
        assigned: text -> split, where the corpus is too small to be split by hash alone.
        skipped: what was left out -> how often.
    """

    classes: dict[str, tuple[str, ...]]
    assigned: dict[str, str] | None
    skipped: collections.Counter[str]


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files of the splits; where `valid` or `test` is empty, a share of `train` by hash.

    Attributes:
        train, valid, test: paths or data sets; `valid` and `test` may be empty.
        valid_share, test_share: share of the training file held out where the path is empty.
        fields: the columns that hold the sentence and its labels.
        on_error: `skip` leaves out the lines that cannot be read, and counts them.
    """

    train: str
    valid: str = ""
    test: str = ""
    valid_share: float = 0.1
    test_share: float = 0.1
    fields: Fields = ANY_FIELDS
    on_error: str = "fatal"

    def check(self) -> None:
        """Refuses files that cannot be the corpus's, before anything is read.

        Raises:
            UserError: a file is missing or of an unknown kind.
        """
        for source in self.sources.values():
            kind = _kind(source)
            path = pathlib.Path(source)
            if kind != DATASET and not path.is_file():
                problem = "it is not a regular file" if path.exists() else "there is none"
                here = "" if path.is_absolute() else f"; the current folder is {os.getcwd()}"
                raise UserError(f"cannot read the file {source}: {problem}. Check the path{here}.")
            if kind == ".txt" and self.fields:
                raise UserError(
                    f"{source}: a .txt file has no columns, each line is a sentence. Leave out "
                    "data.text_column and data.label_column, or name the file .tsv or .csv."
                )

    @property
    def sources(self) -> dict[str, str]:
        """Split -> file or data set, for those that have one of their own."""
        given = zip(SPLITS, (self.train, self.valid, self.test), strict=True)
        return {split: os.path.expanduser(source) for split, source in given if source}

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of the training file held out for validation and for test."""
        return (0.0 if self.valid else self.valid_share), (0.0 if self.test else self.test_share)

    def digest(self) -> str:
        """Hex sha256 of all that determines the rows: contents, kinds, columns, shares."""
        parts: list[object] = [self.shares]
        for split, source in self.sources.items():
            path, kind = pathlib.Path(source), _kind(source)
            if kind == DATASET:
                parts.append([split, kind, self._rows_digest(source)])
                continue
            try:
                content = sha256_of(path)
            except OSError as error:
                raise UserError(
                    f"cannot read {path}: {error.strerror}. Check its permissions."
                ) from error
            ending = path.suffix.lower()
            packed: bool | str = ending == ".gz" or (ending in OPENERS and ending)
            parts.append([split, kind, packed, content])
        # Only where they are set, so that a corpus of an earlier version is still the same.
        if self.fields:
            parts.append(["fields", self.fields.text, self.fields.labels])
        if self.fields.usual:
            parts.append(["usual", self.fields.usual.text, self.fields.usual.labels])
        if self.on_error != ON_ERROR[0]:
            parts.append(["on_error", self.on_error])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _rows_digest(self, source: str) -> str:
        """Hex sha256 of a data set's rows: its library rewrites its files."""
        digest = hashlib.sha256()
        for line in self.sentences(source, collections.Counter()):
            digest.update(json.dumps([line.text, dict(line.labels)]).encode())
        return digest.hexdigest()

    @functools.cached_property
    def survey(self) -> Survey:
        """Reads everything once. A bad line is so refused before anything is written.

        Raises:
            UserError: a bad line, a split without sentences, files with and without labels.
        """
        census = _Census(self)
        for file_split, source in self.sources.items():
            census.read(source, self._hash_assignment(file_split))
        census.refuse_mixed_labels()
        census.refuse_few()
        assigned = None
        if any(not census.rows[split] for split in SPLITS):
            if len(census.different) > SMALL:
                raise census.empty_split()
            assigned = rank_splits(census.different, *self.shares)
        classes = {field: tuple(sorted(names)) for field, names in census.names.items()}
        return Survey(classes, assigned, census.skipped)

    def lines(self, split: str) -> Iterator[Line]:
        """The sentences of a split, in the order of its file."""
        file_split = split if split in self.sources else "train"
        split_of_text = self._hash_assignment(file_split)
        if file_split == "train" and self.survey.assigned is not None:
            split_of_text = self.survey.assigned.__getitem__
        known: collections.Counter[str] = collections.Counter()  # the survey has counted them
        for line in self.sentences(self.sources[file_split], known):
            if split_of_text(line.text) == split:
                yield line

    def sentences(self, source: str, skipped: collections.Counter[str]) -> Iterator[Line]:
        """The lines that hold a sentence, without spaces at its ends; the others are counted.

        Raises:
            UserError: a line cannot be read.
        """

        def skip(error: LineError) -> None:
            skipped["broken lines"] += 1

        on_error = skip if self.on_error == "skip" else refuse
        for line in read_lines(source, fields=self.fields, on_error=on_error, skipped=skipped):
            text = line.text.strip()
            if text:
                yield line._replace(texts=(text,))
            else:
                skipped["blank lines"] += 1

    def _hash_assignment(self, file_split: str) -> Callable[[str], str]:
        """Returns a function from a text of a file to its split by hash."""
        valid_share, test_share = self.shares
        if file_split != "train" or valid_share + test_share == 0:
            return lambda _: file_split
        return lambda text: split_of(text, valid_share, test_share)


class _Census:
    """The counts made while all files are read once.

    Attributes:
        rows: split by hash -> its rows.
        different: the first texts of the training file that are different, a few more than `SMALL`.
        names: label field -> the labels that occur.
        skipped: what was left out -> how often.
    """

    def __init__(self, files: TextFiles) -> None:
        self.rows: collections.Counter[str] = collections.Counter()
        self.different: dict[str, None] = {}
        self.names: dict[str, set[str]] = {}
        self.skipped: collections.Counter[str] = collections.Counter()
        self._files = files
        self._labelled: dict[str, bool] = {}
        self._lines: dict[str, int] = {}

    def read(self, source: str, split_of_text: Callable[[str], str]) -> None:
        """Reads one file.

        Raises:
            UserError: a bad line, no sentence, no label where there must be some.
        """
        first, labelled, lines = 0, False, 0
        left_out = self.skipped.total()
        for line in self._files.sentences(source, self.skipped):
            first, lines = first or line.number, lines + 1
            self.rows[split_of_text(line.text)] += 1
            if source == self._files.sources["train"] and len(self.different) <= SMALL:
                self.different[line.text] = None
            for field, name in line.labels.items():
                labelled = True
                names = self.names.setdefault(field, set())
                names.add(name)
                if len(names) > MAX_CLASSES:
                    raise self._too_many(source, line, field)
        if not first:
            blank = self.skipped.total() - left_out
            raise UserError(
                f"{source}: no sentence in it ({counted(blank, 'blank line')}). "
                "Give a file with one sentence per line."
            )
        if not labelled and (self._files.fields.labels or _kind(source) == ".tsv"):
            raise _no_label(source, first)
        self._labelled[source], self._lines[source] = labelled, lines

    def refuse_mixed_labels(self) -> None:
        """Refuses a corpus of which one file has labels and another has none."""
        if len(set(self._labelled.values())) > 1:
            with_, without = (
                next(source for source, has in self._labelled.items() if has is wanted)
                for wanted in (True, False)
            )
            raise UserError(
                f"{with_} has labels and {without} has none: give all files of a corpus "
                "labels, or none."
            )

    def refuse_few(self) -> None:
        """Refuses fewer different sentences than there are splits to make, or far too few."""
        needed = 1 + sum(split not in self._files.sources for split in ("valid", "test"))
        train, count = self._files.sources["train"], len(self.different)
        turned = self._turned_round()
        if count < needed or (turned and 10 * count < self._lines[train]):
            wanted = (
                f"; at least {needed} are needed, to train on, to validate and to test, and some "
                "thousands for a useful model"
            )
            raise UserError(
                f"{train}: {counted(count, 'different sentence')} in "
                f"{counted(self._lines[train], 'line')}"
                f"{wanted if count < needed else ''}.{turned}"
            )

    def empty_split(self) -> UserError:
        """The error of a share that no sentence fell into."""
        valid_share, test_share = self._files.shares
        shares = {"train": 1 - valid_share - test_share, "valid": valid_share, "test": test_share}
        split = next(split for split in SPLITS if not self.rows[split])
        return UserError(
            f"{self._files.sources['train']}: no sentence falls into the share of "
            f"{shares[split]:g} for {split} (there are {self.rows.total():,} in all). Give more "
            "sentences, other shares (data.valid_share, data.test_share), or files of their own "
            "(data.valid, data.test)."
        )

    def _turned_round(self) -> str:
        """Advice where there are more labels than texts; else empty."""
        labels = max((len(names) for names in self.names.values()), default=0)
        fields = self._files.fields
        if labels <= max(len(self.different), 2):
            return ""
        text, label = fields.text or "1", ",".join(fields.labels) or "2"
        if _kind(self._files.sources["train"]) != ".tsv" and not fields:
            text, label = TEXT, LABEL
        return (
            f" Its columns seem the other way round, the label first ({labels:,} different labels):"
            f" set {how_to_choose(label, text)}."
        )

    def _too_many(self, source: str, line: Line, field: str) -> UserError:
        return UserError(
            f"{source}, line {line.number}: more than {MAX_CLASSES:,} different labels, here "
            f"{line.labels[field]!r:.60}. Is the label in the right column? Without labels, use "
            f".txt.{self._turned_round()}"
        )


def _no_label(source: str, number: int) -> UserError:
    advice = "No line has one: choose another data.label_column, or none."
    if _kind(source) == ".tsv":
        advice = "Each line must be text, one tab, label; without labels, name the file .txt."
    return UserError(f"{source}, line {number}: the label is missing. {advice}")


def _kind(source: str) -> str:
    kind = kind_of(source)
    if not kind and pathlib.Path(source).is_dir():
        raise UserError(
            f"{source}: this is a folder, and none that save_to_disk of the library datasets wrote."
            " Give a file, or such a folder."
        )
    if not kind:
        raise UserError(
            f"{source}: unknown kind of file. The name must end in {', '.join(KINDS)}, with "
            f"{', '.join(OPENERS)} after it if compressed: .txt holds one sentence per line, .tsv "
            "text<TAB>label, the others columns or keys 'text' and, if there are labels, 'label' "
            "(or data.text_column, data.label_column)."
        )
    return kind
