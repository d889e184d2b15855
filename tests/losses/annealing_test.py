"""alpha(t) and the learning rate against Eq. 9 by hand, by fractions and by optax."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetx_jax.losses import annealing as annealing_lib
from vaetx_jax.training import optimizer

LONGEST = 300  # all runs are asked for as many steps, so that one shape is compiled

runs = st.integers(1, LONGEST).flatmap(lambda t: st.tuples(st.just(t), st.integers(1, min(t, 12))))


def steps_of(total_steps):
    return jnp.arange(max(total_steps, LONGEST), dtype=jnp.int32)


def alphas(annealing, total_steps, cycles, ratio, **other):
    alpha = annealing_lib.kl_weight(
        steps_of(total_steps),
        annealing=annealing,
        total_steps=total_steps,
        cycles=cycles,
        ratio=ratio,
        **other,
    )
    return np.asarray(alpha)[:total_steps]


def rates(total_steps, cycles, peak=1e-3, final=1e-7):
    rate = optimizer.learning_rate(
        steps_of(total_steps), peak=peak, final=final, total_steps=total_steps, cycles=cycles
    )
    return np.asarray(rate)[:total_steps]


def eq9(t, total_steps, cycles, ratio):
    """Eq. 9 with the 1/R that makes the ramp reach 1, in exact fractions."""
    per_cycle = Fraction(total_steps, cycles)
    tau = (t % math.ceil(per_cycle)) / per_cycle
    return float(tau / Fraction(ratio)) if tau <= Fraction(ratio) else 1.0


def test_cyclic_alpha_of_a_small_run_is_the_one_worked_out_by_hand():
    period = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(alphas("cyclic", 16, 2, 0.5), period * 2)


def test_cyclic_alpha_where_cycles_do_not_divide_the_steps_is_the_one_worked_out_by_hand():
    # T = 11, M = 3: a period is ceil(11/3) = 4 steps, tau counts in units of 11/3 steps.
    ramp = [0.0, 3 / 11, 6 / 11, 9 / 11]
    expected = [*ramp, *ramp, *ramp[:3]]
    np.testing.assert_allclose(alphas("cyclic", 11, 3, 1.0), expected, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(runs, st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_cyclic_alpha_is_eq9(run, ratio):
    total_steps, cycles = run
    expected = [eq9(t, total_steps, cycles, ratio) for t in range(total_steps)]
    np.testing.assert_allclose(alphas("cyclic", *run, ratio), expected, rtol=1e-6)


def test_alpha_is_exact_late_in_a_long_run():
    total_steps, t = 30_000_000, 29_999_999 - 4_500_000
    got = annealing_lib.kl_weight(
        t, annealing="cyclic", total_steps=total_steps, cycles=5, ratio=0.5
    )
    assert float(got) == pytest.approx(eq9(t, total_steps, 5, 0.5), rel=1e-6)


def test_the_papers_run_restarts_every_ten_epochs_and_reaches_one_after_five():
    steps_per_epoch = 1315  # the Penn Treebank's 42,068 sentences by 32
    alpha = alphas("cyclic", 50 * steps_per_epoch, 5, 0.5)
    starts = np.flatnonzero(alpha == 0)
    np.testing.assert_array_equal(starts, 10 * steps_per_epoch * np.arange(5))
    first_full = np.flatnonzero(alpha > 1 - 1e-6)[0]
    assert first_full == 5 * steps_per_epoch


def test_without_annealing_alpha_is_always_one():
    steps = [
        float(annealing_lib.kl_weight(t, annealing="none", total_steps=9, cycles=2, ratio=0.5))
        for t in range(9)
    ]
    assert steps == [1.0] * 9


def test_linear_alpha_climbs_once_and_stays():
    expected = [0.0, 0.25, 0.5, 0.75] + [1.0] * 12
    np.testing.assert_array_equal(alphas("linear", 16, 2, 0.5), expected)


def test_a_share_at_zero_comes_before_the_ramp():
    # Two periods of 8 steps: 2 steps at 0, a ramp of 4, 2 steps at the top.
    period = [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    np.testing.assert_array_equal(alphas("cyclic", 16, 2, 0.5, zero=0.25), period * 2)
    once = [*period, *[1.0] * 8]
    np.testing.assert_array_equal(alphas("linear", 16, 2, 0.5, zero=0.25), once)


@pytest.mark.parametrize("annealing", annealing_lib.ANNEALINGS)
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_beta_is_the_weight_that_alpha_is_multiplied_by(annealing, beta):
    def weight(step, **other):
        return annealing_lib.kl_weight(
            step, annealing=annealing, total_steps=16, cycles=2, ratio=0.5, **other
        )

    for step in (0, 3, 7):
        assert float(weight(step, beta=beta)) == pytest.approx(beta * float(weight(step)))


def test_an_unknown_annealing_is_refused():
    with pytest.raises(ValueError, match="sawtooth"):
        alphas("sawtooth", 16, 2, 0.5)


@settings(deadline=None, max_examples=40)
@given(runs)
def test_learning_rate_is_optaxs_cosine_begun_afresh_each_period(run):
    total_steps, cycles = run
    cosine = optax.cosine_decay_schedule(1e-3, total_steps / cycles, alpha=1e-7 / 1e-3)
    period = math.ceil(total_steps / cycles)
    into_period_T = jnp.asarray(np.arange(LONGEST) % period, jnp.float32)
    expected = np.asarray(cosine(into_period_T))[:total_steps]
    np.testing.assert_allclose(rates(total_steps, cycles), expected, rtol=2e-6, atol=1e-9)


def test_learning_rate_of_a_small_run_is_the_one_worked_out_by_hand():
    # Half a cosine from 1 to 0.2 over 4 steps: cos(k pi / 4) = 1, 0.7071, 0, -0.7071.
    period = [1.0, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5)]
    np.testing.assert_allclose(rates(8, 2, peak=1.0, final=0.2), period * 2, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(runs)
def test_annealing_and_learning_rate_restart_at_the_same_steps(run):
    rate = rates(*run)
    begins_again = np.flatnonzero(alphas("cyclic", *run, 0.5) == 0)
    np.testing.assert_array_equal(np.flatnonzero(rate > rate.max() * (1 - 1e-6)), begins_again)


def test_learning_rate_falls_to_near_its_end_just_before_a_restart():
    rate = rates(1000, 5)
    assert rate[199] < 1e-6
    assert rate[200] == pytest.approx(1e-3)


def test_cycle_ends_are_the_restarts_and_the_end():
    assert annealing_lib.cycle_ends(20, 4) == (5, 10, 15, 20)
    assert annealing_lib.cycle_ends(11, 3) == (4, 8, 11)
    assert annealing_lib.cycle_ends(7, 1) == (7,)


@settings(deadline=None, max_examples=60)
@given(runs)
def test_alpha_begins_at_zero_right_after_every_cycle_end_but_the_last(run):
    ends = annealing_lib.cycle_ends(*run)
    begins = np.flatnonzero(alphas("cyclic", *run, 0.5) == 0)
    assert begins.tolist() == [0, *ends[:-1]]
    assert ends[-1] == run[0]


def test_a_traced_step_gives_what_an_int_gives():
    def both(step):
        return (
            annealing_lib.kl_weight(step, annealing="linear", total_steps=13, cycles=3, ratio=0.7),
            optimizer.learning_rate(step, peak=0.1, final=0.01, total_steps=13, cycles=3),
        )

    traced = jax.jit(both)(jnp.int32(2))
    for got, expected in zip(traced, both(2), strict=True):
        assert got.dtype == jnp.float32
        assert float(got) == pytest.approx(float(expected), rel=1e-6)
