"""The tensorflow-datasets builders of the corpora."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vaetx_jax.data.corpora.records import LOG_PROB, UNLABELLED
from vaetx_jax.data.corpora.source import Example, Source, locate
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.corpora.streaming import StreamingBuilder
from vaetx_jax.data.corpora.text_files import TextFiles
from vaetx_jax.data.grammar import grammar


class PublicBuilder(StreamingBuilder):
    """A public corpus as its `source` describes it.

    Args:
        manual_dir: the folder of its files; empty: they are downloaded.
        cache_dir: where downloads are kept.
        **kwargs: of `tfds.core.GeneratorBasedBuilder`, above all `data_dir`.
    """

    source: Source

    def __init__(self, manual_dir: str, cache_dir: pathlib.Path, **kwargs: Any) -> None:
        self._manual_dir = manual_dir
        self._cache_dir = cache_dir
        self.expected_rows = self.source.rows
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        classes = self.source.classes
        features = {"label": tfds.features.ClassLabel(names=list(classes))} if classes else {}
        return self.dataset_info(
            features,
            description=self.source.description,
            license=self.source.licence,
            citation=self.source.citation,
            homepage=self.source.homepage,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterable[tuple[int, Example]]]:
        paths = locate(self.source, self._manual_dir, self._cache_dir)
        splits = self.source.read(paths, self.dropped)
        return {split: self._generate_examples(rows) for split, rows in splits.items()}

    def _generate_examples(self, rows: Iterable[Example]) -> Iterator[tuple[int, Example]]:
        yield from enumerate(rows)


def public_builder(
    source: Source, manual_dir: str, cache_dir: pathlib.Path, **kwargs: Any
) -> PublicBuilder:
    """The builder of a public corpus.

    tensorflow-datasets takes version, release notes and the folder's name (the class's, as `Ptb`)
    from a builder's class, so each source gets a class of its own.

    Args:
        source: describes the corpus.
        manual_dir, cache_dir, **kwargs: of `PublicBuilder`.
    """
    attributes = {
        "__doc__": source.description,
        "__module__": __name__,
        "VERSION": tfds.core.Version(source.version),
        "RELEASE_NOTES": source.release_notes,
        "source": source,
    }
    made = type(source.name.capitalize(), (PublicBuilder,), attributes)
    return made(manual_dir, cache_dir, **kwargs)


@dataclasses.dataclass(eq=False)
class TextConfig(tfds.core.BuilderConfig):
    """Which files; the name must change with their contents."""

    files: TextFiles = dataclasses.field(default_factory=lambda: TextFiles(""))


class Text(StreamingBuilder):
    """A user's own files. Making one reads them all, and refuses a bad line."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        survey = self._files.survey
        self.dropped.update(survey.skipped)
        features = {
            field: tfds.features.ClassLabel(names=list(classes))
            for field, classes in survey.classes.items()
        }
        sources = ", ".join(self._files.sources.values())
        return self.dataset_info(
            features,
            description=f"Sentences of {sources}; blank lines skipped.",
            license="That of the files.",
            citation="",
        )

    @property
    def _files(self) -> TextFiles:
        return self.builder_config.files

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterable[tuple[int, Example]]]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Example]]:
        numbers = {
            field: {name: i for i, name in enumerate(classes)}
            for field, classes in self.label_fields.items()
        }
        for row, line in enumerate(self._files.lines(split)):
            labels = {
                field: known[line.labels[field]] if field in line.labels else UNLABELLED
                for field, known in numbers.items()
            }
            yield row, {"text": line.text, **labels}


@dataclasses.dataclass(eq=False)
class GrammarConfig(tfds.core.BuilderConfig):
    """How many sentences of which seed."""

    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    seed: int = 0


class Grammar(StreamingBuilder):
    """The built-in corpus: sentences with their causes and exact log-probabilities."""

    VERSION = tfds.core.Version(grammar.GRAMMAR_VERSION)
    RELEASE_NOTES = {grammar.GRAMMAR_VERSION: "See vaetx_jax/data/grammar/grammar.py."}

    def _info(self) -> tfds.core.DatasetInfo:
        causes = {
            name: tfds.features.ClassLabel(names=list(values))
            for name, values in grammar.CAUSES.items()
        }
        exact = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")
        return self.dataset_info(
            {**causes, LOG_PROB: exact},
            description=(
                "Sentences of a seeded probabilistic grammar, 4 to 30 words, with the latent "
                f"causes each was drawn from ({', '.join(causes)}) and log p(sentence) in nats, "
                "summed over the causes."
            ),
            license="Apache-2.0",
            citation="",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterable[tuple[int, Example]]]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, Example]]:
        config = self.builder_config
        sentences = grammar.generate(config.seed, split, 0, config.rows[split])
        for row, (text, causes, log_prob) in enumerate(sentences):
            labels = zip(grammar.CAUSES, causes, strict=True)
            yield row, {"text": text, **dict(labels), LOG_PROB: log_prob}
