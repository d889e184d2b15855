"""Aggressive training: when the decoder moves, and what moves in the other steps."""

import itertools

import jax
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.training.aggressive import DECODER_EVERY, keep_decoder, moves_decoder
from vaetx_jax.training.phases import ENCODER, WarmUp
from vaetx_jax.training.state import init_state
from vaetx_jax.training.step import make_train_step


def moves(total, share, warm_up=None):
    return [bool(moves_decoder(step, share, total, warm_up)) for step in range(total)]


def test_in_its_share_of_the_steps_the_decoder_moves_every_fifth():
    assert DECODER_EVERY == 5
    seldom = [False, False, False, False, True]
    assert moves(20, 0.5) == [*seldom, *seldom, *[True] * 10]


def test_its_steps_come_after_the_warm_up():
    warm_up = WarmUp("autoencoder", steps=4, learning_rate=1.0)
    assert moves(14, 0.5, warm_up) == [*[True] * 4, *[False] * 4, True, *[True] * 5]


def test_what_the_encoder_has_no_part_in_is_kept():
    old = {name: {"x": np.zeros(2)} for name in (*ENCODER, "decoder", "output_layer", "new_layer")}
    new = jax.tree.map(lambda leaf: leaf + 1, old)
    kept = keep_decoder(new, old, np.bool_(False))
    assert {name for name, tree in kept.items() if np.any(tree["x"])} == set(ENCODER)
    moved = keep_decoder(new, old, np.bool_(True))
    assert all(np.all(tree["x"] == 1) for tree in moved.values())


@pytest.fixture(scope="module")
def states():
    """The parameters before and after each of six steps."""
    model, mesh = tiny.vae(layers=1), tiny.one_device()
    settings = tiny.step_settings(total_steps=12, cycles=1, aggressive=0.5)
    state = init_state(model, settings.optimizer, jax.random.key(0), mesh)
    step = make_train_step(model, settings, mesh)
    batch = tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4), length=6))
    kept = [jax.device_get(state.params)]
    for _ in range(6):
        state, _ = step(state, batch, jax.random.key(1))
        kept.append(jax.device_get(state.params))
    return kept


def test_a_step_of_the_encoder_leaves_the_decoder_as_it_is(states):
    def moved(before, after):
        same = jax.tree.map(np.array_equal, before, after)
        return {name for name, tree in same.items() if not all(jax.tree.leaves(tree))}

    steps = [moved(*pair) for pair in itertools.pairwise(states)]
    everything = set(states[0])
    assert steps[4] == everything
    for number in (0, 1, 2, 3, 5):
        assert steps[number] == everything & set(ENCODER)
