"""The readings of a perplexity, each by hand on three sentences."""

import itertools
import json
import math
import pathlib

import numpy as np
import pytest

from benchmarks import perplexity_readings, reading_tables, readings, tokenized_texts
from benchmarks.readings import READINGS, Cell
from benchmarks.tokenized_texts import VARIANTS, WORDPIECE_UNK, Corpus, Tokenized
from vaetx_jax.errors import UserError

# Three sentences of 2, 3 and 4 tokens, the last one cut: 3 tokens and an end on average.
CELL = Cell(
    corpus="air",
    model="vae_transformer",
    annealing="cyclic",
    epochs=10,
    tokenizer="bpe",
    sentences=3,
    nll=8.0,
    kl=1.0,
    tokens=4.0,
    words=3.5,
    published=5.0,
)


def tokenized(tokens_N: list[int], nats_N: list[float], end_nats_N: list[float]) -> Tokenized:
    return Tokenized(
        tokens_N=np.array(tokens_N),
        cut_N=np.array([False, False, True]),
        nats_N=np.array(nats_N),
        end_nats_N=np.array(end_nats_N),
        nats_by_order=(20.0, 12.0, float(np.mean(nats_N))),
    )


class ThreeSentences(Corpus):
    """A corpus that was measured already; rows of ten ids."""

    def __init__(self) -> None:
        super().__init__("air", 10, {}, pathlib.Path(), official_split=False)
        ours = tokenized([2, 3, 4], [6.0, 8.0, 16.0], [1.0, 1.0, 4.0])
        self._measured = {("bpe", variant): ours for variant in VARIANTS}
        self._measured["bpe", "lower case"] = tokenized([2, 3, 4], [3.0, 4.0, 8.0], [0, 0, 0])
        spelled = tokenized([4, 6, 8], [5.0, 9.0, 13.0], [0, 0, 0])
        one = tokenized([3, 5, 7], [5.0, 9.0, 13.0], [0, 0, 0])
        for variant in VARIANTS:
            self._measured["wordpiece", variant] = spelled
            self._measured[WORDPIECE_UNK, variant] = one


WORDPIECE = "our nats over "
TRAINED = "trained on WordPiece"
ONE = f"{TRAINED}, `<unk>` one token"
# Our n-gram model needs 10 nats, of which 2 for [SEP]; that of WordPiece 9: 8 nats become 7.2.
BY_HAND = {
    "tokens and [SEP]: `ppl_rec`": math.exp(8 / 4),
    "tokens, nats of [SEP] kept": math.exp(8 / 3),
    "tokens, nats of [SEP] left out": math.exp(8 * 0.8 / 3),
    "[CLS], tokens and [SEP]": math.exp(8 / 5),
    "words": math.exp(8 / 2.5),
    "words and one end": math.exp(8 / 3.5),
    f"{WORDPIECE}WordPiece tokens": math.exp(8 / 6),
    f"{WORDPIECE}WordPiece tokens and [SEP]": math.exp(8 / 7),
    f"{WORDPIECE}[CLS], WordPiece tokens and [SEP]": math.exp(8 / 8),
    f"{WORDPIECE}WordPiece tokens, `<unk>` one token, and [SEP]": math.exp(8 / 6),
    "all positions, padding masked in the sum alone": math.exp(8 / 9),
    "all positions, padding predicted at 0.01 nats": math.exp((8 + 5 * 0.01) / 9),
    "all positions, padding predicted at 0.1 nats": math.exp((8 + 5 * 0.1) / 9),
    "ELBO instead of nll": math.exp(9 / 4),
    "nats taken for bits: 2^(nats / token)": 4.0,
    "bits taken for nats: e^(bits / token)": math.exp(2 / math.log(2)),
    # The sentences' nats are 4.8, 6.4 and 12.8, over 3, 4 and 5 tokens.
    "mean over sentences of nats per token": math.exp((1.6 + 1.6 + 2.56) / 3),
    "mean of perplexities of batches of 32": math.exp(24 / 12),
    "mean of perplexities of sentences": (2 * math.exp(1.6) + math.exp(2.56)) / 3,
    "long sentences dropped instead of cut": math.exp(8 * 0.7 / 3.5),
    "lower case": math.exp(4 / 4),
    "links and handles replaced": math.exp(2),
    "repeats removed": math.exp(2),
    "random split of AIR": math.exp(2),
    TRAINED: math.exp(7.2 / 7),
    f"{TRAINED}, [SEP] not counted": math.exp(7.2 / 6),
    f"{TRAINED}, [CLS] counted": math.exp(7.2 / 8),
    ONE: math.exp(7.2 / 6),
    f"{ONE}, links and handles replaced": math.exp(7.2 / 6),
    f"{ONE}, repeats removed": math.exp(7.2 / 6),
    f"{ONE}, random split of AIR": math.exp(7.2 / 6),
}


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_a_reading_is_what_it_is_by_hand(reading: readings.Reading) -> None:
    assert reading.perplexity(CELL, ThreeSentences()) == pytest.approx(BY_HAND[reading.name])


def test_no_reading_has_two_rows() -> None:
    assert len({reading.name for reading in READINGS}) == len(READINGS) == len(BY_HAND)


def test_the_needed_cost_of_padding_gives_the_published_perplexity() -> None:
    corpus = ThreeSentences()
    needed = readings.needed_padding_nats(CELL, corpus)
    assert readings.padded(needed)(CELL, corpus) == pytest.approx(CELL.published)


def test_each_corpus_counts_the_same_in_the_score() -> None:
    ratios = {"ptb": [0.1, -0.1, 0.1], "air": [-0.5]}
    assert readings.score(ratios) == pytest.approx(0.3)
    assert readings.score_over_cells(ratios) == pytest.approx(0.2)


@pytest.fixture
def vocabulary(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "bert").mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<", "un", "##k", ">", "a", "b"]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return tmp_path


@pytest.mark.parametrize(("kind", "tokens"), [("wordpiece", [1, 6, 5]), (WORDPIECE_UNK, [1, 3, 2])])
def test_unk_is_four_tokens_of_wordpiece_or_one(
    vocabulary: pathlib.Path, kind: str, tokens: list[int]
) -> None:
    texts = {"train": ["a b", "<unk>"], "valid": [], "test": ["a", "a <unk> b", "b <unk>"]}
    measured = tokenized_texts.tokenize(kind, texts, 9, vocabulary)
    assert measured.tokens_N.tolist() == tokens
    assert not measured.cut_N.any()


def test_a_long_sentence_is_cut(vocabulary: pathlib.Path) -> None:
    texts = {"train": ["a b"], "valid": [], "test": ["a", "a b a b"]}
    measured = tokenized_texts.tokenize("wordpiece", texts, 5, vocabulary)
    assert measured.tokens_N.tolist() == [1, 3]
    assert measured.cut_N.tolist() == [False, True]


TEXTS = {
    "train": ["@A see http://t.co/x", "b", "b"],
    "valid": [],
    "test": ["b", "C", "C"],
}


@pytest.mark.parametrize(
    ("variant", "train", "test"),
    [
        ("published", TEXTS["train"], TEXTS["test"]),
        ("lower case", ["@a see http://t.co/x", "b", "b"], ["b", "c", "c"]),
        ("links and handles replaced", ["user see link", "b", "b"], ["b", "C", "C"]),
        ("repeats removed", ["@A see http://t.co/x", "b"], ["C"]),
    ],
)
def test_a_variant_changes_the_texts(variant: str, train: list[str], test: list[str]) -> None:
    changed = VARIANTS[variant](TEXTS)
    assert (changed["train"], changed["test"]) == (train, test)


def test_a_random_split_keeps_texts_and_sizes() -> None:
    changed = VARIANTS["random split"](TEXTS)
    assert [len(changed[split]) for split in TEXTS] == [3, 0, 3]
    assert sorted(itertools.chain(*changed.values())) == sorted(itertools.chain(*TEXTS.values()))


def test_an_official_split_stays() -> None:
    corpus = ThreeSentences()
    corpus._official_split = True
    assert corpus.measure("bpe", "random split") is corpus.measure("bpe")


# The command ------------------------------------------------------------------------------------

EVALUATION = {
    "tokenizer": "bpe",
    "sentences": 3,
    "nll": 8.0,
    "kl": 1.0,
    "ppl_rec": math.exp(2),
    "ppl_rec_word": math.exp(8 / 3.5),
}
# The paper's Table 2, AIR, VAE-Transformer with cyclic annealing.
AIR_PUBLISHED = 83.7


def as_read(cell: Cell) -> dict[str, object]:
    return {**vars(cell), "published": AIR_PUBLISHED}


def test_cells_of_a_table(tmp_path: pathlib.Path) -> None:
    figures = {name: {"mean": EVALUATION[name]} for name in ("nll", "kl", "ppl_rec")}
    figures["ppl_rec_word"] = {"mean": EVALUATION["ppl_rec_word"]}
    row = {
        **{name: getattr(CELL, name) for name in ("corpus", "model", "annealing", "epochs")},
        **{"tokenizer": "bpe", "sentences": 3, "ours": {**figures, "mi": None}},
        "published": {"ppl": AIR_PUBLISHED, "kl": 0.7, "mi": 0.62},
    }
    unpublished = {**row, "published": None}
    path = tmp_path / "table2.json"
    path.write_text(json.dumps({"rows": [unpublished, row]}))
    (cell,) = perplexity_readings.cells_of_table(path)
    assert vars(cell) == pytest.approx(as_read(CELL))


def test_cells_of_a_study(tmp_path: pathlib.Path) -> None:
    for name in ("air-vae_transformer-cyclic-z64-s0-0", "air-vae_gpt2-none-z64-s0-0"):
        folder = tmp_path / "cells" / name
        folder.mkdir(parents=True)
        (folder / "evaluation-test.json").write_text(json.dumps(EVALUATION))
        (folder / "config.json").write_text(json.dumps({"train": {"epochs": 10}}))
    (cell,) = perplexity_readings.cells_of_study(tmp_path)
    assert vars(cell) == pytest.approx(as_read(CELL))


def test_a_study_without_cells_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no evaluated cell"):
        perplexity_readings.cells_of_study(tmp_path)


def test_cells_of_another_text_are_refused() -> None:
    corpora = {"air": ThreeSentences()}
    perplexity_readings.check_tokens([CELL], corpora)
    other = Cell(**{**vars(CELL), "tokens": 4.1})
    with pytest.raises(UserError, match=r"evaluated on 4\.1000 tokens"):
        perplexity_readings.check_tokens([other], corpora)


def test_the_best_reading_comes_first() -> None:
    rows = reading_tables.reading_rows([CELL], {"air": ThreeSentences()})
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(abs(math.log(rows[0]["perplexities"][0] / 5)))


def test_a_published_perplexity_is_compared_in_nats() -> None:
    corpora = {"air": ThreeSentences()}
    rows = reading_tables.implied_rows(corpora)
    table = {key: row for key, row in reading_tables.PUBLISHED[64].items() if key[0] != "vae_gpt2"}
    ratios = [4 * math.log(figures["air"].ppl) / 10 for figures in table.values()]
    assert rows[0]["ratios"]["air"] == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    assert rows[0]["spread"] == 0
