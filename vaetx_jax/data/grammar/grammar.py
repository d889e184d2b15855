"""The built-in corpus: simple English sentences with known causes and known probabilities.

A sentence comes about in two steps: its causes (`CAUSES`) are drawn, then a path through the
rules of this file under these causes. Words are shared between topics and some are neutral, and a
sentence can have several derivations, so p(sentence) is a true sum: over all derivations and all
joint causes, computed exactly (float64). The mean of -log p is the entropy of the corpus, which no
language model can beat except by chance.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vaetx_jax.data.grammar import lexicon
from vaetx_jax.data.grammar.automaton import Alt, Automaton, Seq, Weight, Words, alt, opt, seq
from vaetx_jax.data.grammar.lexicon import CAUSES, Table, given

GRAMMAR_VERSION = "1.1.0"  # raise it when any sentence or probability changes
_CHUNK = 1024  # sentences that share a stream of random numbers
Node = Words | Seq | Alt


class Sentence(NamedTuple):
    """A sentence, its causes (indices into `CAUSES`, in that order) and log p(sentence) in nats."""

    text: str
    causes: tuple[int, ...]
    log_prob: float


def generate(seed: int, split: str, start: int, stop: int) -> Iterator[Sentence]:
    """Sentences `start` to `stop - 1` of a split, the same ones whatever range is asked for.

    Each (seed, split) has a stream of its own that never ends; sentences may repeat.

    Raises:
      ValueError: the seed is negative or not 0 <= start <= stop.
    """
    if seed < 0 or not 0 <= start <= stop:
        raise ValueError(f"want seed >= 0 and 0 <= start <= stop, not {seed}, {start}, {stop}")
    return itertools.chain.from_iterable(
        _chunk(seed, split, first // _CHUNK, max(start - first, 0), min(stop - first, _CHUNK))
        for first in range(start - start % _CHUNK, stop, _CHUNK)
    )


def log_prob(text: str) -> float:
    """log p(text) in nats, summed over derivations and causes; -inf outside the grammar."""
    return float(log_probs([text])[0])


def log_probs(texts: Sequence[str]) -> np.ndarray:
    """`log_prob` of many texts at once, float64 [N]."""
    machine = automaton()
    ids_NxL, lengths_N = machine.encode(texts)
    parts = range(0, len(lengths_N), _CHUNK)
    scores = [machine.log_probs(ids_NxL[i : i + _CHUNK], lengths_N[i : i + _CHUNK]) for i in parts]
    return np.concatenate([np.zeros(0), *scores])


def posterior(text: str) -> dict[str, np.ndarray]:
    """p(cause | text), exact, for every cause: the best that any probe can know.

    Raises:
      ValueError: the text is not a sentence of the grammar.
    """
    machine = automaton()
    joint = machine.joint(*machine.encode([text]))[0]
    if not joint.any():
        raise ValueError(f"not a sentence of the grammar: {text!r}")
    joint /= joint.sum()
    axes = range(joint.ndim)
    return {c: joint.sum(axis=tuple(a for a in axes if a != k)) for k, c in enumerate(CAUSES)}


@functools.cache
def automaton() -> Automaton:
    """The compiled grammar, built once a process."""
    prior = functools.reduce(np.multiply.outer, (np.array(lexicon.PRIORS[c]) for c in CAUSES))
    return Automaton(rules(), prior, dense=2)


def _chunk(seed: int, split: str, chunk: int, start: int, stop: int) -> Iterator[Sentence]:
    """Sentences `start` to `stop - 1` of one chunk; every row has its own random numbers."""
    machine = automaton()
    source = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(split.encode()), chunk]))
    # Raw bits, because numpy promises the same bits for ever but not the same floats.
    bits_NxR = source.random_raw(_CHUNK * machine.draws).reshape(_CHUNK, -1)[start:stop]
    flat_N, ids_NxL, lengths_N = machine.sample(bits_NxR)
    causes_NxK = np.stack(np.unravel_index(flat_N, machine.prior.shape), axis=1)
    scores = machine.log_probs(ids_NxL, lengths_N).tolist()
    texts = machine.decode(ids_NxL, lengths_N)
    return map(Sentence, texts, map(tuple, causes_NxK.tolist()), scores)


# ---- the rules -------------------------------------------------------------------------------

_FUTURE = given("tense", "future")
_THIRD = given("person", "third")
# Where the verb phrase says little about the topic a place says more, above all if the subject is
# a pronoun.
_THIN_PLACE = 0.95 - 0.25 * _THIRD


def rules() -> Node:
    """The whole grammar: a statement or a question (the second person is asked more often)."""
    return alt(
        (0.08 + 0.3 * given("person", "second"), _question()),
        (0.92 - 0.3 * given("person", "second"), _statement()),
    )


def _statement() -> Node:
    """With the time in front, with an adverb of luck in front, or with nothing there."""
    return alt(
        (0.15, seq(_phrase(lexicon.TIME), _subject(), _body(time=0.0))),
        (0.85, seq(opt(0.3, Words(lexicon.LUCK)), _subject(), _body(time=0.35))),
    )


def _question() -> Node:
    """`why did the chefs like the soup ? that was great`."""
    why, when = opt(0.4, Words(lexicon.WHY)), opt(0.3, _phrase(lexicon.TIME))
    rich = seq(_rich(_base, judged=True), opt(0.25, _phrase(lexicon.PLACE)))
    thin = seq(_thin(_base), opt(_THIN_PLACE, _phrase(lexicon.PLACE)))
    asked = seq(why, Words(lexicon.DO), _subject(), alt((0.55, rich), (0.45, thin)), when, "?")
    comment = seq("that", Words(lexicon.IS), opt(0.3, Words(lexicon.DEGREE)), Words(lexicon.PRAISE))
    return seq(asked, opt(0.5, comment))


def _body(time: float) -> Node:
    """What follows the subject. A verb phrase without judgement calls for one at the end."""
    when = opt(time, _phrase(lexicon.TIME))
    company = opt(0.15, _phrase(lexicon.COMPANY))
    rich = seq(_will(_rich(_agreeing, judged=True)), opt(0.25, _phrase(lexicon.PLACE)), company)
    plain = seq(_will(_rich(_agreeing, judged=False)), opt(0.25, _phrase(lexicon.PLACE)), company)
    thin = seq(_thin_statement(), opt(_THIN_PLACE, _phrase(lexicon.PLACE)))
    judged = alt((0.5, rich), (0.38, thin), (0.12, _will(_move(_agreeing))))
    return alt((0.75, seq(judged, when, opt(0.6, _ending()))), (0.25, seq(plain, when, _verdict())))


def _rich(verb: Callable[[Table], Node], *, judged: bool) -> Node:
    """`proudly baked a cake`: verb and object of the topic; `wanted to` may come before."""
    want = seq(verb(lexicon.WANT), "to", Words(lexicon.ACT))
    act = alt((0.7, verb(lexicon.ACT)), (0.3, want))
    done = alt(
        (0.6, seq(act, _thing(lexicon.ACTED_ON, judged=judged))),
        (0.4, seq(verb(lexicon.HANDLE), _thing(lexicon.HANDLED, judged=judged))),
    )
    return seq(opt(0.3, Words(lexicon.MANNER)), done)


def _thin_statement() -> Node:
    """Task phrases with one word of the topic, in a statement."""
    feel = seq(
        Words(lexicon.BE), opt(0.3, Words(lexicon.FEELING_DEGREE)), _phrase(lexicon.FEELING_ABOUT)
    )
    dislike = seq(Words(lexicon.DO), "not", Words(lexicon.NOT_LIKE))
    return alt(
        (0.6, _will(_thin(_agreeing))), (0.4, seq(alt((0.6, _will(feel)), (0.4, dislike)), _it()))
    )


def _thin(verb: Callable[[Table], Node]) -> Node:
    """An opinion or a thought."""
    return alt(
        (0.65, seq(verb(lexicon.LIKE), _it())),
        (0.35, seq(verb(lexicon.THINK), opt(0.4, "that"), _it_is_good())),
    )


def _move(verb: Callable[[Table], Node]) -> Node:
    """`played happily in the park`."""
    return seq(verb(lexicon.MOVE), Words(lexicon.MANNER), _phrase(lexicon.PLACE))


def _ending() -> Node:
    """A second clause, with or without judgement."""
    return alt((0.7, _verdict()), (0.2, _scene()), (0.1, _deed()))


def _verdict() -> Node:
    """A second clause that judges."""
    will_be = (_FUTURE, seq("will be"))
    be = alt(will_be, (1 - _FUTURE, Words(lexicon.IS)))
    are = alt(will_be, (1 - _FUTURE, Words(lexicon.ARE)))
    everyone = alt((0.5, seq("everyone", be)), (0.5, seq("the", Words(lexicon.PEOPLE), are)))
    it = alt((0.7, "and it"), (0.3, "and everything"))
    glad = seq(opt(0.3, Words(lexicon.FEELING_DEGREE)), Words(lexicon.FEELING))
    return alt(
        (0.35, seq(it, be, opt(0.3, Words(lexicon.DEGREE)), Words(lexicon.PRAISE))),
        (0.3, seq(alt((0.6, "and"), (0.4, "so")), everyone, glad)),
        (0.35, seq("because", _it_is_good())),
    )


def _scene() -> Node:
    """A second clause without judgement: `while the baker slept`."""

    def someone(verbs: Table) -> Node:
        one, several = (Words(lexicon.of_others(verbs, number=n)) for n in CAUSES["number"])
        who = alt(
            (0.5, seq(Words(lexicon.PERSON), one)), (0.5, seq(Words(lexicon.PEOPLE), several))
        )
        return seq("the", who)

    return alt(
        (0.6, seq("while", someone(lexicon.WAIT))), (0.4, seq("before", someone(lexicon.LEAVE)))
    )


def _deed() -> Node:
    """Something else that the subject does: `and baked a cake`."""
    return seq("and", _agreeing(lexicon.HANDLE), _thing(lexicon.HANDLED, judged=False))


def _subject() -> Node:
    """A person, several persons, or a pronoun; first and second person are always pronouns."""
    character = alt((0.8, Words(lexicon.CHARACTER)), (0.2, Words(lexicon.PLAIN_CHARACTER)))
    person = seq(
        Words(lexicon.OWNER),
        opt(0.5, character),
        Words(lexicon.SUBJECT),
        opt(0.08, _phrase(lexicon.PLACE)),
    )
    return alt((0.8 * _THIRD, person), (1 - 0.8 * _THIRD, Words(lexicon.PRONOUN)))


def _thing(noun: Table, *, judged: bool) -> Node:
    """`a great soup` or `the great soup`; without judgement `a soup` or `the old soup`."""
    if judged:
        praised = alt(
            (0.6, _indefinite(lexicon.PRAISE)),
            (0.4, seq(Words(lexicon.THE), Words(lexicon.PRAISE))),
        )
        return seq(praised, Words(noun))
    plain = seq(Words(lexicon.THE), opt(0.3, Words(lexicon.PLAIN)), Words(noun))
    return alt((0.4, _indefinite(noun)), (0.6, plain))


def _it() -> Node:
    """`the new soup`: something an opinion is about."""
    return seq(Words(lexicon.THE), opt(0.15, Words(lexicon.PLAIN)), Words(lexicon.JUDGED))


def _it_is_good() -> Node:
    """`the soup was very salty`."""
    very = opt(0.3, Words(lexicon.DEGREE))
    return seq(_it(), Words(lexicon.IS), very, Words(lexicon.TOPIC_PRAISE))


def _will(predicate: Node) -> Node:
    return seq(opt(_FUTURE, "will"), predicate)


def _agreeing(verbs: Table) -> Node:
    return Words(lexicon.agreeing(verbs))


def _base(verbs: Table) -> Node:
    return Words(verbs)


def _indefinite(table: Table) -> Node:
    """A word behind `a` or `an`, whichever its first letter asks for."""
    groups = _grouped(table, lambda word: "an" if word[0] in "aeiou" else "a")
    return alt(*((mass, seq(article, Words(part))) for article, mass, part in groups))


def _phrase(table: Table) -> Node:
    """A phrase of the table, all words but the last told apart by a choice of their own."""
    groups = _grouped(table, lambda phrase: " ".join(phrase.split()[:-1]))
    return alt(
        *(
            (mass, seq(lead, Words({phrase.split()[-1]: w for phrase, w in part.items()})))
            for lead, mass, part in groups
        )
    )


def _grouped(table: Table, key: Callable[[str], str]) -> list[tuple[str, Weight, Table]]:
    """The table split by a key of its words: (key, weight of the group, its words)."""
    groups: dict[str, dict[str, Weight]] = {}
    for word, weight in table.items():
        groups.setdefault(key(word), {})[word] = weight
    return [(name, sum(part.values()), part) for name, part in groups.items()]
