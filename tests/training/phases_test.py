"""A run of two phases: its schedules, what a step of each trains, and the switch between them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny, tiny_gpt2
from vaetx_jax.config.defaults import default_config
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses import annealing
from vaetx_jax.models import text_vae
from vaetx_jax.training import phases
from vaetx_jax.training.optimizer import learning_rate, make_optimizer
from vaetx_jax.training.phases import WarmUp, warm_up_of
from vaetx_jax.training.state import TrainState, init_state, no_sums
from vaetx_jax.training.step import make_train_step

MODEL = tiny.vae(layers=1)
WARM_UP = WarmUp("language_model", steps=8, learning_rate=0.5)
SETTINGS = dataclasses.replace(tiny.step_settings(), warm_up=WARM_UP)  # 20 steps, 2 cycles
KEY = jax.random.key(0)
BATCH = tiny.on_device(tiny.batch_of(tiny.sentences(4, longest=4), length=6))


def fresh():
    return init_state(MODEL, SETTINGS.optimizer, KEY, tiny.one_device())


def host(tree):
    return jax.tree.map(np.array, tree)


# Schedules -------------------------------------------------------------------------------------


def alpha_and_rate(step):
    objective, optimizer = SETTINGS.objective, SETTINGS.optimizer
    alpha = phases.kl_weight(step, objective, 20, WARM_UP)
    return float(alpha), float(phases.rate(step, optimizer, 20, objective.cycles, WARM_UP))


def test_the_warm_up_has_no_kl_and_a_cosine_of_its_own():
    for step in range(8):
        alpha, rate = alpha_and_rate(step)
        assert alpha == 0
        final = SETTINGS.optimizer.final_learning_rate
        expected = final + 0.5 * (0.5 - final) * (1 + np.cos(np.pi * step / 8))
        assert rate == pytest.approx(expected, rel=1e-5)


def test_the_second_phase_has_the_schedules_of_a_run_of_its_length():
    objective, optimizer = SETTINGS.objective, SETTINGS.optimizer
    for step in range(9, 20):  # the first has not the whole learning rate
        alpha = annealing.kl_weight(
            step - 8, annealing="cyclic", total_steps=12, cycles=2, ratio=objective.ratio
        )
        rate = learning_rate(
            step - 8,
            peak=optimizer.learning_rate,
            final=optimizer.final_learning_rate,
            total_steps=12,
            cycles=2,
        )
        assert alpha_and_rate(step) == pytest.approx((float(alpha), float(rate)), rel=1e-6)


def test_the_learning_rate_rises_over_the_first_steps_of_the_second_phase():
    for total, over in ((1_008, 50), (108, 10)):  # fifty steps, or a tenth of a short phase
        for step in (0, 3, over - 1, over):
            plain = phases.rate(step, SETTINGS.optimizer, total - 8, 1, None)
            rising = phases.rate(8 + step, SETTINGS.optimizer, total, 1, WARM_UP)
            share = min((step + 1) / over, 1.0)
            assert float(rising) == pytest.approx(share * float(plain), rel=1e-5)


def test_a_warm_up_takes_its_share_of_the_steps():
    train = default_config().train
    train.warm_up, train.warm_up_share = "autoencoder", 0.3
    assert warm_up_of(train, 50, cycles=2) == WarmUp("autoencoder", 15, train.learning_rate)
    train.warm_up = "none"
    assert warm_up_of(train, 50, cycles=2) is None


def test_a_share_that_leaves_too_little_to_a_phase_is_refused():
    train = default_config().train
    train.warm_up, train.warm_up_share = "language_model", 0.9
    with pytest.raises(ConfigError, match=r"warm_up_share = 0.9: of 10 steps it leaves 9 .* 1 to"):
        warm_up_of(train, 10, cycles=2)


# Steps -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language_model_step():
    return make_train_step(MODEL, SETTINGS, tiny.one_device(), latent=False)


def test_a_language_models_step_trains_the_decoder_alone(language_model_step):
    before = host(fresh().params)
    state, metrics = language_model_step(fresh(), BATCH, KEY)
    for name, tree in host(state.params).items():
        same = [
            np.array_equal(*pair)
            for pair in zip(*map(jax.tree.leaves, (tree, before[name])), strict=True)
        ]
        assert all(same) == (name not in phases.DECODER), name
    assert float(metrics.sums.kl) == 0
    assert float(metrics.sums.loss) == pytest.approx(float(metrics.sums.nll) / 4, rel=1e-5)


# The switch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["language_model", "autoencoder"])
def test_the_switch_resets_moments_and_either_the_decoder_or_the_size_of_z(
    kind, language_model_step
):
    trained, _ = language_model_step(fresh(), BATCH, KEY)
    trained = trained.with_params(jax.tree.map(lambda leaf: leaf + 1, trained.params))
    start = fresh()
    state = phases.second_phase(trained, start, dataclasses.replace(WARM_UP, kind=kind))
    assert int(state.step) == 1
    jax.tree.map(np.testing.assert_array_equal, host(state.optimizer), host(start.optimizer))
    for name, tree in state.params.items():
        kept = kind == "language_model" or name not in phases.DECODER
        expected = host(trained.params[name] if kept else start.params[name])
        if name == "decoder" and kept:
            slots = expected["layer_0"]["latent_attention"]
            for kernel in (expected["project"]["kernel"], slots["slot_key"], slots["slot_value"]):
                kernel *= phases.LATENT_SCALE
        jax.tree.map(np.testing.assert_array_equal, host(tree), expected)


def saved(done, updates):
    """A state after `done` steps, of which `updates` came since its moments were reset."""
    moments = make_optimizer(SETTINGS.optimizer).init({})
    counted = [
        part._replace(count=jnp.int32(updates)) if "count" in part._fields else part
        for part in moments
    ]
    return TrainState(jnp.int32(done), {}, tuple(counted), no_sums())


@pytest.mark.parametrize(("done", "updates"), [(3, 3), (7, 7), (8, 0), (9, 1), (20, 12), (20, 14)])
def test_a_state_in_the_phase_of_the_schedule_goes_on(done, updates):
    phases.check_phase(saved(done, updates), WARM_UP, skips=False)  # of 8 steps


def test_a_run_that_has_left_its_warm_up_never_goes_back_to_it():
    longer = dataclasses.replace(WARM_UP, steps=30)
    with pytest.raises(ConfigError, match=r"after step 20 this run has left .* ends at step 30"):
        phases.check_phase(saved(20, 12), longer, skips=False)


def test_a_run_in_its_warm_up_is_never_past_it_without_the_switch():
    shorter = dataclasses.replace(WARM_UP, steps=4)
    for skips in (False, True):
        with pytest.raises(ConfigError, match=r"step 6 this run is still in .* ends at step 4"):
            phases.check_phase(saved(6, 6), shorter, skips=skips)


def test_skipped_steps_are_no_switch():
    phases.check_phase(saved(7, 5), WARM_UP, skips=True)


@pytest.mark.parametrize(
    "model",
    [
        tiny.vae(layers=1),
        tiny.vae(layers=1, latent_attention=False, latent_input=True),
        tiny_gpt2.model(latent_prefix=True, latent_input=False),
    ],
    ids=["attention", "input", "prefix"],
)
def test_z_hardly_changes_what_was_a_language_model_by_whatever_path_it_enters(model):
    state = init_state(model, SETTINGS.optimizer, KEY, tiny.one_device())
    quiet = phases.second_phase(state, state, WARM_UP)
    z_BxZ = jax.random.normal(KEY, (4, model.latent_dim), jnp.float32)

    def change(variables):
        with_z, without = (
            text_vae.decode(model, variables, BATCH["ids"], z) for z in (z_BxZ, 0 * z_BxZ)
        )
        return float(jnp.linalg.norm(with_z - without))

    assert 0 < change(quiet.variables) < 0.5 * change(state.variables)


def test_two_warm_ups_of_one_program_may_differ_in_their_learning_rate():
    other = dataclasses.replace(WARM_UP, learning_rate=0.1)
    step = jnp.int32(0)
    first = phases.rate(step, SETTINGS.optimizer, 20, 2, WARM_UP)
    second = phases.rate(step, SETTINGS.optimizer, 20, 2, other)
    assert float(first) == pytest.approx(5 * float(second), rel=1e-5)
