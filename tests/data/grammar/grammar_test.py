import collections
import hashlib
import io
import itertools

import numpy as np
import pytest
import sentencepiece

from vaetx_jax.data.grammar import grammar
from vaetx_jax.data.grammar.automaton import Alt, Automaton, Seq, Words, alt, opt, seq

SHAPE = tuple(len(values) for values in grammar.CAUSES.values())


@pytest.fixture(scope="module")
def sentences() -> list[grammar.Sentence]:
    return list(grammar.generate(0, "train", 0, 20_480))


@pytest.fixture(scope="module")
def joint(sentences) -> np.ndarray:
    """p(sentence, cause) of the first 4,096 sentences, [N, *SHAPE]."""
    machine = grammar.automaton()
    return machine.joint(*machine.encode([s.text for s in sentences[:4096]]))


# ---- oracles that read the rules themselves, not the compiled automaton ------------------------


def ways(node, words: list[str], start: int, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """p(words[start:end] | causes) for every end, by recursion over the tree of rules."""
    if isinstance(node, Words):
        if start == len(words) or words[start] not in node.table:
            return {}
        if len(node.table) == 1:
            return {start + 1: np.ones(shape)}
        total = sum(np.broadcast_to(weight, shape) for weight in node.table.values())
        mine = np.broadcast_to(node.table[words[start]], shape)
        return {start + 1: np.where(total > 0, mine / np.where(total > 0, total, 1), 0)}
    ends = collections.defaultdict(lambda: np.zeros(shape))
    if isinstance(node, Seq):
        ends[start] = np.ones(shape)
        for part in node.parts:
            before, ends = ends, collections.defaultdict(lambda: np.zeros(shape))
            for middle, mass in before.items():
                for end, inner in ways(part, words, middle, shape).items():
                    ends[end] = ends[end] + mass * inner
        return ends
    total = sum(np.broadcast_to(weight, shape) for weight, _ in node.branches)
    for weight, child in node.branches:
        share = np.where(total > 0, weight / np.where(total > 0, total, 1), 0)
        for end, inner in ways(child, words, start, shape).items():
            ends[end] = ends[end] + share * inner
    return ends


def derivations(node, words: list[str], start: int) -> collections.Counter:
    """The number of derivations of words[start:end] for every end, whatever the causes."""
    if isinstance(node, Words):
        found = start < len(words) and words[start] in node.table
        return collections.Counter({start + 1: 1} if found else {})
    ends = collections.Counter()
    if isinstance(node, Alt):
        for _, child in node.branches:
            ends.update(derivations(child, words, start))
        return ends
    ends[start] = 1
    for part in node.parts:
        before, ends = ends, collections.Counter()
        for middle, count in before.items():
            for end, inner in derivations(part, words, middle).items():
                ends[end] += count * inner
    return ends


def lengths_of(node, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """p(number of words | causes), by recursion over the tree of rules."""
    if isinstance(node, Words):
        return {1: np.ones(shape)}
    lengths = collections.defaultdict(lambda: np.zeros(shape))
    if isinstance(node, Seq):
        lengths[0] = np.ones(shape)
        for part in node.parts:
            before, lengths = lengths, collections.defaultdict(lambda: np.zeros(shape))
            inner = lengths_of(part, shape)
            for (a, mass), (b, share) in itertools.product(before.items(), inner.items()):
                lengths[a + b] = lengths[a + b] + mass * share
        return lengths
    total = sum(np.broadcast_to(weight, shape) for weight, _ in node.branches)
    for weight, child in node.branches:
        share = np.where(total > 0, weight / np.where(total > 0, total, 1), 0)
        for length, mass in lengths_of(child, shape).items():
            lengths[length] = lengths[length] + share * mass
    return lengths


def texts_of(node, length: int) -> set[tuple[str, ...]]:
    """All strings of exactly `length` words that the rules can write, whatever the causes."""
    if isinstance(node, Words):
        return {(word,) for word in node.table} if length == 1 else set()
    if isinstance(node, Alt):
        return set().union(*(texts_of(child, length) for _, child in node.branches))
    if not node.parts:
        return {()} if length == 0 else set()
    first, rest = node.parts[0], Seq(node.parts[1:])
    found = set()
    for n in range(length + 1):
        tails = texts_of(rest, length - n)
        heads = texts_of(first, n) if tails else set()
        found.update(head + tail for head, tail in itertools.product(heads, tails))
    return found


def prior() -> np.ndarray:
    return grammar.automaton().prior


@pytest.fixture(scope="module")
def length_shares() -> dict[int, float]:
    shares = {n: float(np.sum(p * prior())) for n, p in lengths_of(grammar.rules(), SHAPE).items()}
    return {n: share for n, share in shares.items() if share > 0}


@pytest.fixture(scope="module")
def four_words() -> list[str]:
    return sorted(" ".join(words) for words in texts_of(grammar.rules(), 4))


# ---- exact probabilities -----------------------------------------------------------------------


def test_log_prob_is_the_sum_over_all_derivations_and_causes(sentences):
    rules = grammar.rules()
    for sentence in sentences[:25]:
        words = sentence.text.split()
        mass = ways(rules, words, 0, SHAPE)[len(words)]
        assert sentence.log_prob == pytest.approx(np.log(np.sum(mass * prior())), abs=1e-10)


def test_log_prob_is_right_where_a_sentence_has_several_derivations():
    # "strange" judges the soup, or it only describes it and the second clause must judge.
    rules, text = grammar.rules(), "i cooked the strange soup and it was bad"
    words = text.split()
    assert derivations(rules, words, 0)[len(words)] == 2
    mass = ways(rules, words, 0, SHAPE)[len(words)]
    assert grammar.log_prob(text) == pytest.approx(np.log(np.sum(mass * prior())), abs=1e-10)


def test_derivations_add_up():
    toy = Automaton(seq(opt(0.3, "very"), opt(0.2, "very"), "good"), np.ones((1, 1)), dense=1)
    ids_NxL, lengths_N = toy.encode(["good", "very good", "very very good", "very", "bad"])
    expected = [0.7 * 0.8, 0.3 * 0.8 + 0.7 * 0.2, 0.3 * 0.2, 0.0, 0.0]
    np.testing.assert_allclose(np.exp(toy.log_probs(ids_NxL, lengths_N)), expected, rtol=1e-14)


def test_causes_weigh_choices_and_words():
    good = np.array([[0.9], [0.2]])  # two dense causes, and three forms without influence
    toy = Automaton(
        alt((good, Words({"x": good, "y": 1 - good})), (1 - good, "y y")),
        np.array([[1.0], [3.0]]) * np.ones((1, 3)),
        dense=1,
    )
    joint = toy.joint(*toy.encode(["x", "y", "y y"])).sum(axis=2)
    expected = [[0.25 * 0.81, 0.75 * 0.04], [0.25 * 0.09, 0.75 * 0.16], [0.25 * 0.1, 0.75 * 0.8]]
    np.testing.assert_allclose(joint, expected, rtol=1e-14)


def test_an_automaton_refuses_a_cause_without_words():
    broken = Words({"x": np.array([1.0, 0.0]), "y": np.array([2.0, 0.0])})
    with pytest.raises(ValueError, match="no weight under a cause"):
        Automaton(broken, np.ones(2), dense=1)


def test_lengths_lie_between_4_and_30_and_their_shares_sum_to_1(length_shares):
    assert min(length_shares) == 4
    assert max(length_shares) <= 30
    assert sum(length_shares.values()) == pytest.approx(1.0, abs=1e-12)


def test_all_sentences_of_four_words_together_have_the_share_of_that_length(
    four_words, length_shares
):
    assert len(four_words) > 1000
    total = np.exp(grammar.log_probs(four_words)).sum()
    assert total == pytest.approx(length_shares[4], rel=1e-12)


def test_the_probability_of_any_sentence_is_far_from_underflow():
    machine = grammar.automaton()
    lowest = sum(
        np.log(weights[weights > 0].min()) for weights in (machine._edge_ExFxD, machine._pair_PxFxD)
    )
    assert machine.longest * lowest > np.log(np.finfo(np.float64).tiny)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "good",
        "i loved the",
        "i loved the soup soup",
        "i loves the soup",  # agreement
        "yesterday i will love the soup in the kitchen",  # tense
        "i loved  the soup",  # two blanks
        " i loved the soup",
        "I loved the soup",
        "i loved the zebra",
        "the " * 40 + "soup",
    ],
)
def test_outside_the_grammar_log_prob_is_minus_infinity(text):
    assert grammar.log_prob(text) == -np.inf


def test_log_probs_of_many_are_the_log_prob_of_each(sentences):
    texts = [s.text for s in sentences[:1100]] + ["no sentence"]
    scores = grammar.log_probs(texts)
    assert scores.dtype == np.float64
    for n in (0, 1, 777, 1023, 1024, 1099, 1100):
        assert scores[n] == pytest.approx(grammar.log_prob(texts[n]), abs=1e-12)
    np.testing.assert_allclose(scores[:1100], [s.log_prob for s in sentences[:1100]], rtol=1e-12)
    assert grammar.log_probs([]).shape == (0,)


# ---- drawing -----------------------------------------------------------------------------------


def test_lengths_are_drawn_with_their_probabilities(sentences, length_shares):
    counts = collections.Counter(len(s.text.split()) for s in sentences)
    _assert_counts_fit(counts, length_shares, len(sentences))


def test_a_small_grammar_writes_each_sentence_with_its_probability():
    random = np.random.default_rng(0)

    def weight() -> np.ndarray:
        return random.uniform(0.1, 1.0, (2, 3)) * (random.uniform(size=(2, 3)) < 0.8)

    words = Words({word: weight() + 1e-3 for word in "abc"})
    rules = seq(opt(0.4 + 0.2 * weight(), words), alt((weight() + 0.1, "a b"), (0.5, words)), words)
    small = Automaton(rules, random.uniform(0.1, 1.0, (2, 3)), dense=1)
    texts = [" ".join(text) for n in (2, 3, 4) for text in sorted(texts_of(rules, n))]
    shares = dict(zip(texts, np.exp(small.log_probs(*small.encode(texts))), strict=True))
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-12)
    bits_NxR = random.bit_generator.random_raw(100_000 * small.draws).reshape(100_000, -1)
    _, ids_NxL, lengths_N = small.sample(bits_NxR)
    _assert_counts_fit(collections.Counter(small.decode(ids_NxL, lengths_N)), shares, 100_000)


def test_sentences_repeat_as_often_as_their_probabilities_say(sentences):
    """Two draws are equal with probability sum p^2, the mean of p over draws."""
    counts = collections.Counter(s.text for s in sentences)
    pairs = sum(n * (n - 1) / 2 for n in counts.values())
    p_N = np.exp([s.log_prob for s in sentences])
    draws = len(sentences) * (len(sentences) - 1) / 2
    expected, error = draws * p_N.mean(), draws * p_N.std() / np.sqrt(len(sentences))
    assert expected > 5
    assert abs(pairs - expected) < 4 * np.hypot(np.sqrt(expected), error)


def test_causes_are_drawn_with_their_prior(sentences):
    counts = collections.Counter(s.causes for s in sentences)
    shares = dict(zip(itertools.product(*map(range, SHAPE)), prior().ravel(), strict=True))
    _assert_counts_fit(counts, shares, len(sentences))


def _assert_counts_fit(counts, shares, total: int) -> None:
    """Pearson's chi-square within four standard deviations of its mean."""
    assert set(counts) <= {key for key, share in shares.items() if share > 0}
    common = [key for key, share in shares.items() if share * total >= 5]
    rest = total - sum(counts[key] for key in common), 1.0 - sum(shares[key] for key in common)
    observed = np.array([counts[key] for key in common] + [rest[0]])
    expected = total * np.array([shares[key] for key in common] + [rest[1]])
    keep = expected > 1e-6 * total
    chi_square = np.sum((observed[keep] - expected[keep]) ** 2 / expected[keep])
    freedom = keep.sum() - 1
    assert freedom >= 5
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_the_entropy_is_the_same_in_two_samples(sentences):
    first = np.array([s.log_prob for s in sentences])
    second = np.array([s.log_prob for s in grammar.generate(1, "valid", 0, 10_240)])
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    assert abs(first.mean() - second.mean()) < 4 * error
    assert -first.mean() == pytest.approx(23.94, abs=0.15)  # nats, as the documents say


def test_any_range_yields_the_same_sentences(sentences):
    whole = sentences[:3072]
    cuts = [0, 1, 1000, 1024, 1025, 2047, 3072]
    parts = [list(grammar.generate(0, "train", a, b)) for a, b in itertools.pairwise(cuts)]
    assert list(itertools.chain(*parts)) == whole


def test_an_empty_range_is_empty():
    assert list(grammar.generate(0, "train", 5, 5)) == []
    assert list(grammar.generate(0, "train", 1024, 1024)) == []


def test_seeds_and_splits_have_streams_of_their_own():
    streams = [(0, "train"), (0, "valid"), (0, "test"), (1, "train")]
    texts = [{s.text for s in grammar.generate(*stream, 0, 500)} for stream in streams]
    for a, b in itertools.combinations(texts, 2):
        assert len(a & b) < 25


@pytest.mark.parametrize("bad", [(-1, "train", 0, 1), (0, "train", -1, 1), (0, "train", 2, 1)])
def test_a_range_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="0 <= start <= stop"):
        grammar.generate(*bad)


def test_version_1_1_0_never_changes():
    """A change here needs another GRAMMAR_VERSION: data sets are cached under it."""
    assert grammar.GRAMMAR_VERSION == "1.1.0"
    drawn = list(grammar.generate(0, "train", 2_000_000, 2_000_003))
    assert [s.text for s in drawn] == PINNED_TEXTS
    assert [s.causes for s in drawn] == PINNED_CAUSES
    assert [s.log_prob for s in drawn] == pytest.approx(PINNED_LOG_PROBS, abs=1e-9)
    lines = "\n".join(s.text for s in grammar.generate(0, "train", 0, 4096))
    assert hashlib.sha256(lines.encode()).hexdigest() == PINNED_SHA256


PINNED_SHA256 = "294388c5c3d12226f470e68d3c56a11002beccafd3dba6324288a3aa50728ec0"
PINNED_TEXTS = [
    "she will like this treatment at the theater",
    "sadly our new neighbor takes this terrible medicine today",
    "did you book the terrible trip ?",
]
PINNED_CAUSES = [(7, 1, 2, 0, 2), (7, 0, 1, 0, 2), (2, 0, 0, 1, 1)]
PINNED_LOG_PROBS = [-20.303248554196813, -26.07748518264524, -14.803581151456559]


# ---- the sentences as English, and what they tell of their causes --------------------------------


def test_sentences_have_10_to_14_words_in_the_mean(sentences):
    assert 10 <= np.mean([len(s.text.split()) for s in sentences]) <= 14


def test_the_vocabulary_has_a_few_hundred_words_and_all_are_used(sentences):
    used = {word for s in sentences for word in s.text.split(" ")}
    assert used == set(grammar.automaton().vocabulary)
    assert 250 <= len(used) <= 400


def test_600_pieces_cover_the_words(sentences):
    texts = [s.text for s in sentences[:5000]]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=580, model_type="bpe",
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode(texts)
    assert sum(map(len, pieces)) < 1.25 * sum(len(text.split()) for text in texts)


def test_articles_fit_the_word_behind_them(sentences):
    for sentence in sentences:
        for article, word in itertools.pairwise(sentence.text.split()):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou"), sentence.text


def test_the_posterior_is_bayes_rule_over_the_rules(sentences):
    text = sentences[3].text
    words = text.split()
    mass = ways(grammar.rules(), words, 0, SHAPE)[len(words)] * prior()
    found = grammar.posterior(text)
    assert list(found) == list(grammar.CAUSES)
    for axis, cause in enumerate(grammar.CAUSES):
        expected = mass.sum(axis=tuple(a for a in range(len(SHAPE)) if a != axis)) / mass.sum()
        np.testing.assert_allclose(found[cause], expected, rtol=1e-10, atol=1e-15)


def test_the_posterior_of_no_sentence_is_refused():
    with pytest.raises(ValueError, match="not a sentence of the grammar: 'hello'"):
        grammar.posterior("hello")


def test_recorded_causes_are_possible_causes(sentences, joint):
    for sentence, mass in zip(sentences, joint, strict=False):
        assert mass[sentence.causes] > 0, sentence


@pytest.mark.parametrize(
    ("cause", "least", "most"),
    [
        ("topic", 0.975, 0.999),  # measured: 0.990
        ("sentiment", 0.975, 0.999),  # 0.985
        ("tense", 0.999, 1.0),  # 1
        ("number", 0.90, 0.96),  # 0.932: "you" has no number
        ("person", 0.999, 1.0),  # 1
    ],
)
def test_bayes_reads_the_cause_at_the_stated_rate(sentences, joint, cause, least, most):
    axis = list(grammar.CAUSES).index(cause)
    others = tuple(a + 1 for a in range(len(SHAPE)) if a != axis)
    posterior = joint.sum(axis=others) / joint.sum(axis=tuple(range(1, joint.ndim)))[:, None]
    truth = np.array([s.causes[axis] for s in sentences[: len(joint)]])
    rate = np.mean(posterior.argmax(axis=1) == truth)
    assert least <= rate <= most
    # A calibrated posterior knows how often it is right.
    promised = posterior.max(axis=1)
    variance = np.mean(promised * np.maximum(1 - promised, 0)) / len(truth)
    assert abs(rate - promised.mean()) < 4 * np.sqrt(variance) + 1e-9


def test_the_topic_shows_in_two_words_of_nearly_every_sentence(sentences):
    """A word shows a topic if that topic writes it more often than the seven others together."""
    topics = collections.defaultdict(lambda: np.zeros(SHAPE[0]))
    for sentence in sentences:
        for word in set(sentence.text.split()):
            topics[word][sentence.causes[0]] += 1
    showing = {word for word, count in topics.items() if count.max() > 0.5 * count.sum()}
    shown = np.array([len(showing.intersection(s.text.split())) for s in sentences])
    assert np.mean(shown >= 1) > 0.99
    assert np.mean(shown >= 2) > 0.9


def test_many_sentences_could_come_from_several_topics(joint):
    topics_N = (joint.sum(axis=tuple(range(2, joint.ndim))) > 0).sum(axis=1)
    assert np.mean(topics_N > 1) > 0.2
