"""Batches: pure in the step, every sentence once an epoch, few shapes, little padding."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetx_jax.data.batches import EvalBatches, TrainBatches, read_ahead
from vaetx_jax.data.bucketing import ProcessShare, best_shapes, make_buckets
from vaetx_jax.data.corpora.corpus import CorpusSpec, open_corpus
from vaetx_jax.data.tokenized import FrameIds, TokenizedSplit, tokenize_split
from vaetx_jax.data.tokenizers.vocabulary_files import wordpiece_from_file
from vaetx_jax.errors import UserError

PAD, CLS, SEP = 0, 2, 3
MAX_LEN = 20
FIXED = {"max_len": MAX_LEN, "frame": FrameIds(PAD, CLS, SEP)}


def split_of(lengths, labels=None):
    """Sentences with the given numbers of ids, [CLS] and [SEP] counted; ids tell the row."""
    sizes = np.asarray(lengths) - 2
    return TokenizedSplit(
        tokens=np.repeat(np.arange(4, 4 + len(sizes)), sizes).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        words=sizes.astype(np.int32),
        cut=np.zeros(len(sizes), np.bool_),
        labels=labels or {},
    )


def random_split(rows=203, seed=0):
    lengths = np.random.default_rng(seed).integers(2, MAX_LEN + 1, rows)
    return split_of(lengths, {"label": np.arange(rows, dtype=np.int16) % 5})


def buckets(split=None, **options):
    split = random_split() if split is None else split
    return make_buckets(split, **{"batch_size": 8, **FIXED, **options})


def train(split=None, *, seed=1, **options):
    return TrainBatches(buckets(split, **options), seed=seed)


def evaluation(split=None, **options):
    return EvalBatches(buckets(split, **options))


def epoch_of(batches, epoch=0):
    steps = batches.steps_per_epoch
    return [batches.at(step) for step in range(epoch * steps, (epoch + 1) * steps)]


def order_of(batches, epoch=0):
    return np.concatenate([batch["index"] for batch in epoch_of(batches, epoch)])


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], strict=True)


def measured_padding(batches):
    """Counted position by position."""
    targets = np.concatenate(
        [np.where(b["weight"][:, None] > 0, b["ids"][:, 1:], PAD).ravel() for b in batches]
    )
    return np.mean(targets == PAD)


lengths_lists = st.lists(st.integers(2, MAX_LEN), min_size=1, max_size=60)


# -------------------------------------------------------------------------------------- purity


def test_the_same_step_is_the_same_batch_in_any_order_and_instance():
    batches = train()
    count = 3 * batches.steps_per_epoch
    expected = [batches.at(step) for step in range(count)]
    other = train()
    for step in np.random.default_rng(0).permutation(count):
        assert_same(other.at(step), expected[step])


def test_threads_get_the_batches_of_one_caller():
    batches = train()
    steps = range(4 * batches.steps_per_epoch)
    found = {}
    start = threading.Barrier(4)

    def work(part):
        start.wait()
        for step in list(steps)[part::4]:
            found[step] = batches.at(step)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other = train()
    for step in steps:
        assert_same(found[step], other.at(step))


def test_an_epoch_is_shuffled_once_however_many_threads_ask(monkeypatch):
    batches = train(random_split(500_000))
    shuffled, shuffle = [], batches._shuffle
    monkeypatch.setattr(
        batches, "_shuffle", lambda epoch: (shuffled.append(epoch), shuffle(epoch))[1]
    )
    start = threading.Barrier(4)

    def work():
        start.wait()
        batches.at(0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shuffled == [0]


def test_epochs_differ():
    batches = train()
    assert order_of(batches, 0).tolist() != order_of(batches, 1).tolist()


def test_seeds_differ():
    assert order_of(train(seed=1)).tolist() != order_of(train(seed=2)).tolist()


def test_groups_are_mixed_within_an_epoch():
    widths = [batch["ids"].shape[1] for batch in epoch_of(train())]
    assert widths != sorted(widths)


def test_a_negative_step_is_an_error():
    with pytest.raises(ValueError, match="step -1"):
        train().at(-1)


# -------------------------------------------------------------------------------------- content


@settings(deadline=None)
@given(lengths=lengths_lists, batch_size=st.integers(1, 9), groups=st.integers(1, 9))
def test_every_sentence_comes_once_an_epoch(lengths, batch_size, groups):
    batches = train(split_of(lengths), batch_size=batch_size, max_buckets=groups)
    for epoch in range(2):
        order = order_of(batches, epoch)
        assert sorted(order[order >= 0]) == list(range(len(lengths)))


def test_a_batch_holds_the_sentences_its_index_names():
    split = random_split()
    for batch in epoch_of(train(split)):
        real = batch["index"] >= 0
        rows = batch["index"][real]
        assert (batch["ids"][:, 0] == CLS).all()
        assert (
            np.sum(batch["ids"][real] == rows[:, None] + 4, axis=1) == split.lengths[rows] - 2
        ).all()
        np.testing.assert_array_equal(np.sum(batch["ids"] != PAD, 1)[real], split.lengths[rows])
        np.testing.assert_array_equal(batch["label"][real], rows % 5)
        np.testing.assert_array_equal(batch["weight"], real)


def test_types_are_fixed():
    batch = train().at(0)
    kinds = {name: array.dtype for name, array in batch.items()}
    assert kinds == {"ids": np.int32, "label": np.int32, "weight": np.float32, "index": np.int64}


def test_weights_sum_to_the_number_of_sentences():
    assert sum(batch["weight"].sum() for batch in epoch_of(train())) == 203


def test_fillers_are_empty_sentences_without_weight():
    (batch,) = epoch_of(train(split_of([5, 4, 5])))
    filler = batch["index"] < 0
    assert filler.sum() == 5
    assert batch["ids"][filler].tolist() == [[CLS, SEP, PAD, PAD, PAD]] * 5
    assert (batch["weight"][filler] == 0).all()
    assert (batch["label"] == -1).all()


def test_the_label_is_the_first_field():
    labels = {"b": np.array([7, 8], np.int16), "a": np.array([0, 1], np.int16)}
    batch = train(split_of([4, 4], labels), batch_size=2).at(0)
    np.testing.assert_array_equal(batch["label"], batch["index"] + 7)


@pytest.mark.parametrize("lengths", [[2], [MAX_LEN], [7] * 50, [2] * 9])
def test_small_and_uniform_corpora_work(lengths):
    batches = train(split_of(lengths))
    assert batches.shapes == (max(3, lengths[0]),)
    assert sum(batch["weight"].sum() for batch in epoch_of(batches)) == len(lengths)


def test_a_corpus_without_sentences_is_refused():
    with pytest.raises(UserError, match="no sentences"):
        train(split_of(np.zeros(0, np.int64)))


# --------------------------------------------------------------------------------------- shapes


def cost(lengths, shapes, batch_size):
    """All target positions of the batches, filler rows counted."""
    total = 0
    for low, shape in itertools.pairwise([0, *shapes]):
        rows = np.sum((lengths > low) & (lengths <= shape))
        total += -(-rows // batch_size) * batch_size * (shape - 1)
    return total


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=40),
    batch_size=st.integers(1, 7),
    groups=st.integers(1, 5),
)
def test_best_shapes_equal_brute_force(lengths, batch_size, groups):
    lengths = np.maximum(lengths, 3)
    inner = sorted(set(lengths.tolist()) - {lengths.max()})
    choices = [
        (*some, lengths.max())
        for count in range(min(groups, len(inner) + 1))
        for some in itertools.combinations(inner, count)
    ]
    shapes = best_shapes(np.bincount(lengths), batch_size, groups)
    assert len(shapes) <= groups
    costs = [(cost(lengths, choice, batch_size), len(choice)) for choice in choices]
    assert (cost(lengths, shapes, batch_size), len(shapes)) == min(costs)


def test_best_shapes_beat_quantiles():
    lengths = np.clip(np.random.default_rng(0).gamma(4, 6, 5000).astype(int), 3, 64)
    quantiles = np.quantile(lengths, np.arange(1, 9) / 8, method="higher")
    shapes = best_shapes(np.bincount(lengths), 32, 8)
    assert cost(lengths, shapes, 32) < cost(lengths, quantiles, 32)


@settings(deadline=None)
@given(lengths=lengths_lists, batch_size=st.integers(1, 9), groups=st.integers(1, 9))
def test_padding_is_what_counting_finds(lengths, batch_size, groups):
    batches = train(split_of(lengths), batch_size=batch_size, max_buckets=groups)
    assert batches.padding == pytest.approx(measured_padding(epoch_of(batches)), abs=1e-12)


def test_a_sentence_longer_than_the_limit_is_an_error():
    with pytest.raises(ValueError, match="a sentence has 9 ids, max_len is 8"):
        train(split_of([9]), max_len=8)


def test_only_the_announced_shapes_occur():
    batches = train(max_buckets=4)
    assert len(batches.shapes) == 4
    assert {batch["ids"].shape for batch in epoch_of(batches)} == {(8, s) for s in batches.shapes}


def test_a_shape_is_its_longest_row():
    split = random_split()
    longest = {}
    for batch in epoch_of(train(split)):
        rows = batch["index"][batch["index"] >= 0]
        width = batch["ids"].shape[1]
        longest[width] = max(longest.get(width, 0), split.lengths[rows].max())
    assert longest == {width: width for width in longest}


def test_training_keeps_to_given_shapes():
    batches = train(split_of([3, 4, 5, 6]), shapes=[MAX_LEN], batch_size=2)
    assert batches.shapes == (MAX_LEN,)
    assert [batch["ids"].shape for batch in epoch_of(batches)] == [(2, MAX_LEN)] * 2


# ------------------------------------------------------------------------------------ processes


@pytest.mark.parametrize("make", [train, evaluation])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_shares_of_all_processes_are_the_global_batch(make, count):
    whole = make(batch_size=12)
    shares = [make(batch_size=12, share=ProcessShare(i, count)) for i in range(count)]
    for step in range(18):
        parts = [share.at(step) for share in shares]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert_same(joined, whole.at(step))


def test_a_batch_that_processes_cannot_share_is_an_error():
    with pytest.raises(ValueError, match="4 processes do not divide a batch of 30"):
        train(batch_size=30, share=ProcessShare(0, 4))


# ----------------------------------------------------------------------------------- evaluation


@settings(deadline=None)
@given(lengths=lengths_lists, batch_size=st.integers(1, 9))
def test_evaluation_covers_every_sentence_once(lengths, batch_size):
    batches = evaluation(split_of(lengths), batch_size=batch_size)
    index = np.concatenate([batch["index"] for batch in batches])
    assert sorted(index[index >= 0]) == list(range(len(lengths)))
    assert batches.padding == pytest.approx(measured_padding(list(batches)), abs=1e-12)


def test_evaluation_has_one_order():
    left, right = (evaluation() for _ in range(2))
    assert len(left) == len(right)
    for i in reversed(range(len(left))):
        assert_same(left[i], right[i])


def test_evaluation_keeps_to_given_shapes():
    batches = evaluation(split_of([3, 4, 9]), batch_size=2, shapes=(5, 7, 12, 20))
    assert batches.shapes == (5, 12)


def test_a_sentence_longer_than_the_given_shapes_adds_one():
    assert evaluation(split_of([3, 9]), batch_size=2, shapes=(5,)).shapes == (5, 9)


@pytest.mark.parametrize("number", [-1, 1])
def test_a_batch_that_is_not_there_is_an_index_error(number):
    with pytest.raises(IndexError):
        evaluation(split_of([3, 4]), batch_size=2)[number]


# ---------------------------------------------------------------------------------- read ahead


def live_readers():
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("grain")]
    for thread in readers:
        thread.join(timeout=20)
    return [thread for thread in readers if thread.is_alive()]


@pytest.mark.parametrize("start", [0, 1, 30])
def test_reading_ahead_from_any_step_gives_the_batches_in_order(start):
    batches = train()
    steps = list(read_ahead(batches, start, 70))
    assert [step for step, _ in steps] == list(range(start, 70))
    for step, batch in steps:
        assert_same(batch, batches.at(step))


@pytest.mark.parametrize("stop", [5, 4])
def test_reading_nothing_is_empty(stop):
    assert list(read_ahead(train(), 5, stop)) == []


def test_evaluation_batches_can_be_read_ahead():
    batches = evaluation()
    for step, batch in read_ahead(batches, 0, len(batches)):
        assert_same(batch, batches[step])


def test_what_a_reader_raises_arrives_at_its_step():
    class Faulty:
        def at(self, step):
            if step == 3:
                raise UserError("the disk is gone")
            return train().at(step)

    reader = read_ahead(Faulty(), 0, 10)
    assert [next(reader)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="the disk is gone"):
        next(reader)
    assert not live_readers()


def test_no_thread_outlives_a_reader_left_early():
    reader = read_ahead(train(), 0, 10_000)
    next(reader)
    reader.close()
    assert not live_readers()


def test_a_program_that_ends_while_reading_ends_quietly():
    program = """
import numpy as np
from vaetx_jax.data.batches import read_ahead
class Zeros:
    def at(self, step):
        return np.zeros(step)
reader = read_ahead(Zeros(), 0, 10**9)
print(next(reader)[0])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


# --------------------------------------------------------------------------------- Penn Treebank


@pytest.fixture(scope="module")
def ptb(real_data, tmp_path_factory):
    """The training batches as the paper's runs have them, with BERT's vocabulary."""
    cache = tmp_path_factory.mktemp("cache")
    corpus = open_corpus(CorpusSpec(name="ptb", cache_dir=cache, manual_dir=str(real_data)))
    tokenizer = wordpiece_from_file(real_data / "bert" / "vocab.txt")
    split = tokenize_split(corpus, "train", tokenizer, 64, cache)
    made = make_buckets(split, frame=FrameIds.of(tokenizer), batch_size=32, max_len=64)
    return TrainBatches(made, seed=0)


def test_eight_groups_leave_little_padding_on_the_penn_treebank(ptb):
    assert len(ptb.shapes) == 8
    assert ptb.padding < 0.12


def test_every_sentence_of_the_penn_treebank_comes_once_an_epoch(ptb):
    order = order_of(ptb)
    np.testing.assert_array_equal(np.sort(order[order >= 0]), np.arange(42_068))
