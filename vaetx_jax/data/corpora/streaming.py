"""The base of our tensorflow-datasets builders: it streams, and it is quiet.

`tfds.core.GeneratorBasedBuilder` keeps a split in memory (up to a gigabyte, then it needs
TensorFlow) in order to shuffle and shard it. Ours writes each row as it comes, in order.
"""

import collections
import contextlib
import itertools
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import absl.logging
import tensorflow_datasets as tfds

from vaetx_jax.data.corpora.records import UNLABELLED, encoder
from vaetx_jax.data.corpora.source import Example
from vaetx_jax.errors import UserError

# A reader holds the index of a whole shard in memory, about 50 bytes per row.
ROWS_PER_SHARD = 100_000


class StreamingBuilder(tfds.core.GeneratorBasedBuilder):
    """Writes the splits one row after the other and checks their sizes.

    Subclasses implement `_info` (by `dataset_info`), `_split_generators` and
    `_generate_examples`, whose keys are ignored, and may set `expected_rows`.

    The metadata holds what `Corpus` reads without this class: `label_fields`, `rows`,
    `dropped`, `label_counts` and `shards` (split -> list of file name, bytes, rows).
    """

    expected_rows: dict[str, int] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Unregistered: `text` and `grammar` are no names to take from other libraries.
        super().__init_subclass__(skip_registration=True, **kwargs)

    def __init__(self, **kwargs: Any) -> None:
        self.dropped: collections.Counter[str] = collections.Counter()
        super().__init__(file_format="array_record", **kwargs)

    def dataset_info(self, features: dict[str, Any], **description: Any) -> tfds.core.DatasetInfo:
        """The DatasetInfo of a corpus of texts with these other features."""
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"text": tfds.features.Text(), **features}),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
            **description,
        )

    @property
    def label_fields(self) -> dict[str, tuple[str, ...]]:
        """Label field -> class names, in the order of the features."""
        return {
            name: tuple(feature.names)
            for name, feature in self.info.features.items()
            if isinstance(feature, tfds.features.ClassLabel)
        }

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        infos, shards, counts = [], {}, {}
        for split, examples in self._split_generators(dl_manager).items():
            info, shards[split], counts[split] = self._write_split(split, examples)
            infos.append(info)
        rows = {info.name: info.num_examples for info in infos}
        if self.expected_rows is not None and rows != self.expected_rows:
            raise UserError(
                f"the corpus {self.name} has {rows} rows instead of {self.expected_rows}: "
                "its files are not the published ones. Get them again."
            )
        self.info.metadata.update(
            label_fields=self.label_fields,
            rows=rows,
            dropped=dict(self.dropped),
            label_counts=counts,
            shards=shards,
        )
        self.info.set_splits(tfds.core.splits.SplitDict(infos))

    def _write_split(
        self, split: str, examples: Iterable[tuple[int, Example]]
    ) -> tuple[tfds.core.SplitInfo, list[tuple[str, int, int]], dict[str, list[int]]]:
        template = self._get_filename_template(split_name=split)
        fields = self.label_fields
        counts = {name: [0] * len(classes) for name, classes in fields.items()}
        records = self._records(examples, counts)
        folder = pathlib.Path(self.data_dir)
        written: list[tuple[pathlib.Path, int]] = []
        for first in records:
            path = folder / f"{split}-{len(written)}.part"  # the name needs the number of shards
            shard = itertools.chain([first], itertools.islice(records, ROWS_PER_SHARD - 1))
            written.append((path, self._write_shard(path, shard)))
        shards = []
        for number, (path, rows) in enumerate(written):
            final = pathlib.Path(
                template.sharded_filepath(shard_index=number, num_shards=len(written))
            )
            os.replace(path, final)
            shards.append((final.name, final.stat().st_size, rows))
        info = tfds.core.SplitInfo(
            name=split,
            shard_lengths=[rows for _, _, rows in shards],
            num_bytes=sum(size for _, size, _ in shards),
            filename_template=template,
        )
        return info, shards, counts

    def _records(
        self, examples: Iterable[tuple[int, Example]], counts: dict[str, list[int]]
    ) -> Iterator[tuple[int, bytes]]:
        encode = encoder(counts)
        for key, row in examples:
            for field, count in counts.items():
                if row[field] != UNLABELLED:
                    count[row[field]] += 1
            yield key, encode(row)

    def _write_shard(self, path: pathlib.Path, records: Iterable[tuple[int, bytes]]) -> int:
        rows = 0

        def counted() -> Iterator[tuple[int, bytes]]:
            nonlocal rows
            for record in records:
                rows += 1
                yield record

        self._example_writer().write(path, counted())
        return rows

    # Both print; our own messages say more in less.
    def _log_download_bytes(self) -> None:
        pass

    def _log_download_done(self) -> None:
        pass


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the notices of tensorflow-datasets and array_record off the log; errors pass."""

    def is_wanted(record: logging.LogRecord) -> bool:
        theirs = ("tensorflow_datasets", "array_record", "etils")
        parts = pathlib.PurePath(record.pathname).parts
        return record.levelno >= logging.ERROR or not any(name in parts for name in theirs)

    logger = absl.logging.get_absl_logger()
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)
