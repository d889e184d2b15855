"""Probabilistic automata over words whose weights depend on hidden causes.

A grammar without recursion is written with `Words`, `seq`, `alt` and `opt`; `Automaton` compiles
it into a hidden Markov model without cycles (one state for each place where a word is written,
after Glushkov's construction), draws sentences from it and sums over all derivations of a given
one with the forward algorithm (Rabiner 1989, section III.A).

A weight is a number or an array that broadcasts against the shape of the causes, one axis a cause.
The first causes (together D values) mostly shift word frequencies; the others (F values), such as
tense, are soon pinned down by the words. So scoring keeps a vector over D and a sparse set over F.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

Weight = float | np.ndarray

_START = 0
# Draws have 32 bits, so that `integer + draw` is exact in float64 for integers below 2**21.
_DRAW_BITS = 32
_LARGEST_KEY = 2**21


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """One word, drawn from a table of weights (normalised for each cause)."""

    table: Mapping[str, Weight]


@dataclasses.dataclass(frozen=True, eq=False)
class Seq:
    """Its parts one after the other; without parts, nothing at all."""

    parts: tuple[Words | Seq | Alt, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Alt:
    """One of its branches, by weight (normalised for each cause)."""

    branches: tuple[tuple[Weight, Words | Seq | Alt], ...]


def seq(*parts: Words | Seq | Alt | str) -> Seq:
    """The parts in order; a string stands for its words, written as they are."""
    nodes: list[Words | Seq | Alt] = []
    for part in parts:
        if isinstance(part, str):
            nodes.extend(Words({word: 1.0}) for word in part.split())
        else:
            nodes.append(part)
    return Seq(tuple(nodes))


def alt(*branches: tuple[Weight, Words | Seq | Alt | str]) -> Alt:
    """One of the branches `(weight, node)`."""
    return Alt(tuple((w, seq(n) if isinstance(n, str) else n) for w, n in branches))


def opt(probability: Weight, *parts: Words | Seq | Alt | str) -> Alt:
    """The parts with this probability, otherwise nothing."""
    return Alt(((probability, seq(*parts)), (1.0 - probability, Seq(()))))


class Automaton:
    """A compiled grammar: draws sentences and sums over their derivations.

    Attributes:
      vocabulary: the words, sorted; a word's id is its index here.
      prior: probability of each joint cause, one axis a cause.
      shortest, longest: bounds on the number of words of a sentence.
    """

    def __init__(self, root: Words | Seq | Alt, prior: np.ndarray, dense: int):
        """Compiles `root`; the first `dense` axes of `prior` are the dense causes."""
        self.prior = np.asarray(prior, np.float64) / np.sum(prior)
        self._dense = dense
        self._prior_FxD = self._split(self.prior[None])[0]
        self._compile(root)
        self._index_arcs()
        self._accumulate()

    def _split(self, weight_IxCauses: np.ndarray) -> np.ndarray:
        """[I, *prior.shape] to [I, F, D]: scoring picks a form and keeps the vector over D."""
        dense = math.prod(self.prior.shape[: self._dense])
        weight_IxDxF = weight_IxCauses.reshape(len(weight_IxCauses), dense, -1)
        return np.ascontiguousarray(weight_IxDxF.transpose(0, 2, 1))

    def _join(self, weight_IxFxD: np.ndarray) -> np.ndarray:
        """[I, F, D] to [I, *prior.shape]."""
        return weight_IxFxD.transpose(0, 2, 1).reshape(-1, *self.prior.shape)

    # ---- compiling -------------------------------------------------------------------------

    def _compile(self, root: Words | Seq | Alt) -> None:
        """Lays out states, edges between them and the words that each state may write."""
        shape = self.prior.shape
        tables: dict[str | int, int] = {}
        rows: list[Mapping[str, Weight]] = []
        table_of = [-1]  # the table of each state; the start writes nothing
        edges: list[tuple[int, int, np.ndarray]] = []

        def link(node: Words | Seq | Alt, entries: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
            """Puts `node` behind `entries` (state -> weight of arriving); returns its exits."""
            if isinstance(node, Seq):
                for part in node.parts:
                    entries = link(part, entries)
                return entries
            if isinstance(node, Alt):
                total = sum(weight for weight, _ in node.branches) * np.ones(shape)
                exits: dict[int, np.ndarray] = {}
                for weight, child in node.branches:
                    share = _share(weight * np.ones(shape), total)
                    inside = {state: mass * share for state, mass in entries.items()}
                    if not any(mass.any() for mass in inside.values()):
                        continue  # a branch that no cause takes gets no states
                    for state, mass in link(child, inside).items():
                        exits[state] = exits.get(state, 0.0) + mass
                return exits
            only = next(iter(node.table)) if len(node.table) == 1 else None
            key = only or id(node.table)  # a word without a choice has one table everywhere
            if key not in tables:
                tables[key] = len(rows)
                rows.append({only: 1.0} if only else node.table)
            state = len(table_of)
            table_of.append(tables[key])
            edges.extend((source, state, mass) for source, mass in entries.items() if mass.any())
            return {state: np.ones(shape)}

        ends = link(root, {_START: np.ones(shape)})
        states = len(table_of)
        edges.extend((source, states, mass) for source, mass in ends.items() if mass.any())
        edges.sort(key=lambda edge: edge[:2])
        self._end, self._tables = states, len(rows)
        self._table_of = np.array(table_of)
        self._edge_from = np.array([edge[0] for edge in edges])
        self._edge_to = np.array([edge[1] for edge in edges])
        self._edge_ExFxD = self._split(np.stack([edge[2] for edge in edges]))
        self._set_words(rows)
        self._set_bounds()

    def _set_words(self, tables: list[Mapping[str, Weight]]) -> None:
        """One pair for each word of each table, sorted by table, and its probability."""
        shape = self.prior.shape
        self.vocabulary = tuple(sorted({word for table in tables for word in table}))
        self._id_of = {word: i for i, word in enumerate(self.vocabulary)}
        pairs = [(t, self._id_of[w]) for t, table in enumerate(tables) for w in table]
        self._pair_table, self._pair_word = np.array(pairs).T
        weights = []
        for table in tables:
            stacked = np.stack([np.broadcast_to(weight, shape) for weight in table.values()])
            weights.append(_share(stacked, stacked.sum(axis=0)))
        self._pair_PxFxD = self._split(np.concatenate(weights))

    def _set_bounds(self) -> None:
        """The least and the greatest number of words; checks that no probability gets lost."""
        low, high = {_START: 0}, {_START: 0}
        visits_SxFxD = np.zeros((self._end + 1, *self._prior_FxD.shape))
        visits_SxFxD[_START] = 1.0
        written_TxFxD = np.zeros((self._tables, *self._prior_FxD.shape))
        np.add.at(written_TxFxD, self._pair_table, self._pair_PxFxD)
        # Edges are sorted by their source and always lead to a later state.
        for edge, (source, target) in enumerate(zip(self._edge_from, self._edge_to, strict=True)):
            step = 0 if target == self._end else 1
            low[target] = min(low.get(target, low[source] + step), low[source] + step)
            high[target] = max(high.get(target, 0), high[source] + step)
            written = written_TxFxD[self._table_of[target]] if step else 1.0
            visits_SxFxD[target] += visits_SxFxD[source] * self._edge_ExFxD[edge] * written
        if not np.allclose(visits_SxFxD[self._end], 1.0, rtol=0, atol=1e-12):
            raise ValueError("a choice or a table has no weight under a cause that comes to it")
        self.shortest, self.longest = low[self._end], high[self._end]

    def _index_arcs(self) -> None:
        """For scoring: the arcs (edge, pair) by which a state can write a word."""
        pairs_of = [np.flatnonzero(self._pair_table == t) for t in range(self._tables)]
        inner = np.flatnonzero(self._edge_to != self._end)
        pairs = [pairs_of[self._table_of[target]] for target in self._edge_to[inner]]
        arc_edge = np.repeat(inner, [len(p) for p in pairs])
        arc_pair = np.concatenate(pairs)
        key = self._edge_from[arc_edge] * len(self.vocabulary) + self._pair_word[arc_pair]
        order = np.argsort(key, kind="stable")
        self._arc_edge, self._arc_pair = arc_edge[order], arc_pair[order]
        counts = np.bincount(key, minlength=self._end * len(self.vocabulary))
        self._arc_start = np.concatenate([[0], np.cumsum(counts)])
        final = np.flatnonzero(self._edge_to == self._end)
        self._end_SxFxD = np.zeros((self._end, *self._edge_ExFxD.shape[1:]))
        self._end_SxFxD[self._edge_from[final]] = self._edge_ExFxD[final]

    def _accumulate(self) -> None:
        """For drawing: ladders in which one binary search makes one weighted choice."""
        causes = self.prior.size
        edges_ExC = self._join(self._edge_ExFxD).reshape(-1, causes)
        pairs_PxC = self._join(self._pair_PxFxD).reshape(-1, causes)
        self._cause_ladder = _ladder(self.prior.reshape(-1, 1), np.zeros(causes, np.int64), 1)
        self._edge_ladder = _ladder(edges_ExC, self._edge_from, self._end)
        self._pair_ladder = _ladder(pairs_PxC, self._pair_table, self._tables)

    # ---- drawing ---------------------------------------------------------------------------

    @property
    def draws(self) -> int:
        """How many random numbers a sentence takes: its cause, then a state and a word a step."""
        return 2 * self.longest + 2

    def sample(self, bits_NxR: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws N sentences from uniform 64-bit integers, `bits_NxR` with R = `draws`.

        Returns `causes_N` (flat indices in `prior`), `ids_NxL` (-1 behind the end) and `lengths_N`.
        """
        u_NxR = (bits_NxR >> np.uint64(64 - _DRAW_BITS)).astype(np.float64) * 2.0**-_DRAW_BITS
        causes_N = np.searchsorted(self._cause_ladder, u_NxR[:, 0], side="right")
        ids_NxL = np.full((len(u_NxR), self.longest), -1, np.int64)
        lengths_N = np.zeros(len(u_NxR), np.int64)
        rows, states = np.arange(len(u_NxR)), np.full(len(u_NxR), _START)
        for t in range(self.longest + 1):
            at = causes_N[rows] * self._end + states + u_NxR[rows, 2 * t + 1]
            edges = np.searchsorted(self._edge_ladder, at, side="right") % len(self._edge_to)
            states = self._edge_to[edges]
            going = states != self._end
            lengths_N[rows[~going]] = t
            rows, states = rows[going], states[going]
            if not len(rows):
                break
            at = causes_N[rows] * self._tables + self._table_of[states] + u_NxR[rows, 2 * t + 2]
            pairs = np.searchsorted(self._pair_ladder, at, side="right") % len(self._pair_word)
            ids_NxL[rows, t] = self._pair_word[pairs]
        return causes_N, ids_NxL, lengths_N

    # ---- scoring ---------------------------------------------------------------------------

    def encode(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids and lengths as `sample` gives them; length 0 where no sentence can be meant."""
        lines = [[self._id_of.get(word, -1) for word in text.split(" ")] for text in texts]
        ids_NxL = np.full((len(lines), self.longest), -1, np.int64)
        lengths_N = np.zeros(len(lines), np.int64)
        for n, line in enumerate(lines):
            if len(line) <= self.longest and -1 not in line:
                ids_NxL[n, : len(line)] = line
                lengths_N[n] = len(line)
        return ids_NxL, lengths_N

    def decode(self, ids_NxL: np.ndarray, lengths_N: np.ndarray) -> list[str]:
        """The sentences' texts, words parted by single blanks."""
        words = self.vocabulary
        lines = zip(ids_NxL.tolist(), lengths_N.tolist(), strict=True)
        return [" ".join([words[i] for i in line[:length]]) for line, length in lines]

    def log_probs(self, ids_NxL: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
        """log p(sentence) in nats, summed over derivations and causes; -inf outside."""
        rows, _, mass_MxD = self._derive(ids_NxL, lengths_N)
        with np.errstate(divide="ignore"):
            return np.log(np.bincount(rows, mass_MxD.sum(axis=1), minlength=len(ids_NxL)))

    def joint(self, ids_NxL: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
        """p(sentence, joint cause), [N, *prior.shape]."""
        rows, forms, mass_MxD = self._derive(ids_NxL, lengths_N)
        joint_NxFxD = np.zeros((len(ids_NxL), *self._prior_FxD.shape))
        np.add.at(joint_NxFxD, (rows, forms), mass_MxD)
        return self._join(joint_NxFxD)

    def _derive(self, ids_NxL: np.ndarray, lengths_N: np.ndarray) -> tuple[np.ndarray, ...]:
        """The forward algorithm: (row, form, p(sentence, dense causes, form)) for M ends.

        Works on probabilities, not logarithms: thirty words stay far above float64's 1e-308.
        """
        sentences, F = len(ids_NxL), len(self._prior_FxD)
        rows, forms = np.repeat(np.arange(sentences), F), np.tile(np.arange(F), sentences)
        states = np.full(len(rows), _START)
        mass_MxD = np.tile(self._prior_FxD, (sentences, 1))
        ends: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for t in range(self.longest + 1):
            last = lengths_N[rows] == t
            final_MxD = mass_MxD[last] * self._end_SxFxD[states[last], forms[last]]
            ends.append((rows[last], forms[last], final_MxD))
            rows, forms, states, mass_MxD = (a[~last] for a in (rows, forms, states, mass_MxD))
            if not len(rows):
                break
            first = states * len(self.vocabulary) + ids_NxL[rows, t]
            count = self._arc_start[first + 1] - self._arc_start[first]
            origin = np.repeat(np.arange(len(rows)), count)
            within = np.arange(len(origin)) - np.repeat(np.cumsum(count) - count, count)
            arcs = self._arc_start[first][origin] + within
            edges, form = self._arc_edge[arcs], forms[origin]
            mass_MxD = mass_MxD[origin] * self._edge_ExFxD[edges, form]
            mass_MxD *= self._pair_PxFxD[self._arc_pair[arcs], form]
            key = (rows[origin] * F + form) * self._end + self._edge_to[edges]
            key, mass_MxD = _merge(key, mass_MxD)
            rows, forms, states = key // self._end // F, key // self._end % F, key % self._end
        return tuple(np.concatenate(parts) for parts in zip(*ends, strict=True))


def _share(weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """`weight / total`, and 0 under causes that have no weight at all."""
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def _ladder(weight_IxC: np.ndarray, group_I: np.ndarray, groups: int) -> np.ndarray:
    """Cumulative shares of sorted groups, raised by `cause * groups + group`, flat in [C, I].

    `searchsorted(ladder, cause * groups + group + u, side="right") % I` is then an item of the
    group, drawn by its weight under the cause from `u` in [0, 1).
    """
    causes = weight_IxC.shape[1]
    if causes * groups >= _LARGEST_KEY:
        raise ValueError(f"{causes} causes times {groups} states are too many for exact draws")
    ladder_CxI = np.empty(weight_IxC.shape[::-1])
    for group in np.unique(group_I):
        members = np.flatnonzero(group_I == group)
        sums = np.cumsum(weight_IxC[members].T, axis=1)
        total = sums[:, -1:]
        # A group that a cause never reaches has no shares; its rungs only keep the order.
        shares = np.divide(sums, total, out=np.ones_like(sums), where=total > 0)
        ladder_CxI[:, members] = shares + group
    return (ladder_CxI + np.arange(causes)[:, None] * groups).reshape(-1)


def _merge(key_M: np.ndarray, mass_MxD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drops entries without mass and adds up those of the same key; sorted by key."""
    alive = np.flatnonzero(mass_MxD.any(axis=1))
    key_M = key_M[alive]
    if (key_M[1:] > key_M[:-1]).all():  # the common case: nothing came together
        return key_M, mass_MxD[alive]
    order = np.argsort(key_M, kind="stable")
    key_M = key_M[order]
    first = np.flatnonzero(np.concatenate([[True], key_M[1:] != key_M[:-1]]))
    return key_M[first], np.add.reduceat(mass_MxD[alive[order]], first, axis=0)
