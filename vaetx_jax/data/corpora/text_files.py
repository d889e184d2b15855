"""The corpus `text`: a user's files and held-out shares, assigned to splits."""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator

from vaetx_jax.data.corpora.splits import SPLITS, split_of
from vaetx_jax.data.line_reader import LABEL, Line, kind_of, label_fields, read_lines
from vaetx_jax.errors import UserError
from vaetx_jax.runtime.manifest import sha256_of

# More is a column of something else. Class numbers are kept as 16-bit integers downstream.
MAX_CLASSES = 1_000
KINDS = (".txt", ".tsv", ".csv")


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files of the splits; where `valid` or `test` is empty, a share of `train` by hash.

    Attributes:
        train, valid, test: paths; `valid` and `test` may be empty.
        valid_share, test_share: share of the training file held out where the path is empty.
    """

    train: str
    valid: str = ""
    test: str = ""
    valid_share: float = 0.1
    test_share: float = 0.1

    def check(self) -> None:
        """Refuses files that cannot be the corpus's, before anything is read.

        Raises:
            UserError: a file is missing or of an unknown kind.
        """
        for path in self.paths.values():
            _kind(path)
            if not path.is_file():
                problem = "it is not a regular file" if path.exists() else "there is none"
                raise UserError(f"cannot read the file {path}: {problem}. Check the path.")

    @property
    def paths(self) -> dict[str, pathlib.Path]:
        """Split -> file, for those that have a file of their own."""
        given = zip(SPLITS, (self.train, self.valid, self.test), strict=True)
        return {split: pathlib.Path(path).expanduser() for split, path in given if path}

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of the training file held out for validation and for test."""
        return (0.0 if self.valid else self.valid_share), (0.0 if self.test else self.test_share)

    def digest(self) -> str:
        """Hex sha256 of all that determines the rows: contents, kinds of the files, shares."""
        parts: list[object] = [self.shares]
        for split, path in self.paths.items():
            try:
                content = sha256_of(path)
            except OSError as error:
                raise UserError(
                    f"cannot read {path}: {error.strerror}. Check its rights."
                ) from error
            packed = path.name.lower().endswith(".gz")
            parts.append([split, _kind(path), packed, content])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def classes(self, skipped: collections.Counter[str]) -> tuple[str, ...]:
        """Reads everything once and returns the class names, sorted; none without labels.

        Counts skipped lines. A bad line is so refused before anything is written.

        Raises:
            UserError: a bad line, a split without sentences, files with and without labels.
        """
        labelled = {path: bool(label_fields(path)) for path in self.paths.values()}
        if len(set(labelled.values())) > 1:
            with_, without = (
                next(str(path) for path, has in labelled.items() if has is wanted)
                for wanted in (True, False)
            )
            raise UserError(
                f"{with_} has labels and {without} has none: give all files of a corpus "
                "labels, or none."
            )
        names: set[str] = set()
        rows: collections.Counter[str] = collections.Counter()
        for file_split, path in self.paths.items():
            split_of_text = self._assignment(file_split)
            read, left_out = rows.total(), skipped.total()
            for line in _sentences(path, skipped):
                rows[split_of_text(line.text)] += 1
                if line.labels and line.labels[LABEL] not in names:
                    names.add(line.labels[LABEL])
                    _refuse_many(path, line, names)
            if rows.total() == read:
                raise UserError(
                    f"{path}: no sentence in it ({skipped.total() - left_out:,} blank lines). "
                    "Give a file with one sentence a line."
                )
        self._refuse_empty(rows)
        return tuple(sorted(names))

    def lines(self, split: str) -> Iterator[Line]:
        """The sentences of a split, in the order of its file."""
        file_split = split if split in self.paths else "train"
        split_of_text = self._assignment(file_split)
        known: collections.Counter[str] = collections.Counter()  # `classes` has counted them
        for line in _sentences(self.paths[file_split], known):
            if split_of_text(line.text) == split:
                yield line

    def _assignment(self, file_split: str) -> Callable[[str], str]:
        """Returns a function from a text of a file to its split."""
        valid_share, test_share = self.shares
        if file_split != "train" or valid_share + test_share == 0:
            return lambda _: file_split
        return lambda text: split_of(text, valid_share, test_share)

    def _refuse_empty(self, rows: collections.Counter[str]) -> None:
        valid_share, test_share = self.shares
        for split, share in (
            ("train", 1 - valid_share - test_share),
            ("valid", valid_share),
            ("test", test_share),
        ):
            if not rows[split]:
                raise UserError(
                    f"{self.paths['train']}: none of its sentences fell into the share of "
                    f"{share:g} for {split} (there are {rows.total():,} in all). Give more "
                    "sentences, other shares (data.valid_share, data.test_share), or files of "
                    "their own (data.valid, data.test)."
                )


def _sentences(path: pathlib.Path, skipped: collections.Counter[str]) -> Iterator[Line]:
    """The lines that hold a sentence, without spaces at its ends; the others are counted.

    Raises:
        UserError: a line cannot be read, or lacks the label that the others have.
    """
    labelled = bool(label_fields(path))
    for line in read_lines(path, skipped=skipped):
        text = line.text.strip()
        if not text:
            skipped["blank lines"] += 1
        elif labelled and LABEL not in line.labels:
            raise _no_label(path, line.number)
        else:
            yield line._replace(texts=(text,))


def _no_label(path: pathlib.Path, number: int) -> UserError:
    advice = "Add it, or remove the column 'label' from the file."
    if _kind(path) == ".tsv":
        advice = "Each line must be text, one tab, label; without labels, name the file .txt."
    return UserError(f"{path}, line {number}: the label is missing. {advice}")


def _kind(path: pathlib.Path) -> str:
    kind = kind_of(path)
    if kind not in KINDS:
        raise UserError(
            f"{path}: unknown kind of file. The name must end in {', '.join(KINDS)}, "
            "with .gz after it if compressed: .txt holds one sentence a line, .tsv "
            "text<TAB>label, .csv a column 'text' and, if there are labels, 'label'."
        )
    return kind


def _refuse_many(path: pathlib.Path, line: Line, names: set[str]) -> None:
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"{path}, line {line.number}: more than {MAX_CLASSES:,} different labels, here "
            f"{line.labels[LABEL]!r:.60}. Is the label in the right column? Without labels, use "
            ".txt."
        )
