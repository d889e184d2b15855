"""Schedules of the KL weight alpha(t): each is one record of `ANNEALINGS`.

They run in periods of T / M steps, T being all steps of the run and M the number of cycles, as the
restarts of the learning rate do: both stay in phase whatever T is. Steps count from 0: the first
update uses alpha(0). All functions take a Python int or a traced int32 and give a float32.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

Step = int | jax.Array
Number = float | jax.Array


def period_steps(total_steps: int, cycles: int) -> int:
    """Steps of one period, ceil(T / M) (Eq. 9 of the paper)."""
    return math.ceil(total_steps / cycles)


def phase(step: Step, total_steps: int, cycles: int) -> jax.Array:
    """tau of Eq. 9: mod(t, ceil(T / M)) / (T / M), how far this period has come, 0 at its start."""
    into_period = jnp.asarray(step, jnp.int32) % period_steps(total_steps, cycles)
    return into_period.astype(jnp.float32) / jnp.float32(total_steps / cycles)


def elapsed(step: Step, total_steps: int, cycles: int) -> jax.Array:
    """t / (T / M): the periods since the start of the run."""
    return jnp.asarray(step, jnp.float32) / jnp.float32(total_steps / cycles)


def cycle_ends(total_steps: int, cycles: int) -> tuple[int, ...]:
    """The numbers of updates done at the end of each period; the last is `total_steps`."""
    period = period_steps(total_steps, cycles)
    return (*range(period, total_steps, period), total_steps)


@dataclasses.dataclass(frozen=True)
class Annealing:
    """A schedule of the KL weight.

    Attributes:
      name: its value of `objective.annealing`.
      weight: alpha of an update before `objective.beta`, given the step, T, M, `objective.ratio`
        and `objective.zero`.
      has_cycles: alpha falls again in each period. The ends of cycles are then validated, and they
        alone may become the checkpoint `best`.
      line, marker: Matplotlib's styles for it in the figures of a study.
    """

    name: str
    weight: Callable[[Step, int, int, Number, Number], jax.Array]
    has_cycles: bool
    line: str
    marker: str

    def validated_ends(self, total_steps: int, cycles: int) -> tuple[int, ...]:
        """The numbers of updates after which a validation is due in any case."""
        ends = cycle_ends(total_steps, cycles)
        return ends if self.has_cycles else ends[-1:]

    def may_be_best(self, done: int, total_steps: int, cycles: int) -> bool:
        """Whether the checkpoint after `done` updates may become `best`.

        A single cycle ends with the run: every validation counts then, as without cycles.
        """
        return not self.has_cycles or cycles == 1 or done in cycle_ends(total_steps, cycles)


def _ramp(tau: jax.Array, ratio: Number, zero: Number) -> jax.Array:
    """0 up to tau = `zero`, then up to 1 in the next `ratio`, then 1 (Eq. 8, where `zero` is 0).

    The paper's Eq. 9 leaves out the 1 / ratio that makes the ramp reach 1 where it ends.
    """
    into_ramp = jnp.maximum(tau - jnp.asarray(zero, jnp.float32), 0.0)
    return jnp.minimum(into_ramp / jnp.asarray(ratio, jnp.float32), 1.0)


def _constant(step: Step, total_steps: int, cycles: int, ratio: Number, zero: Number) -> jax.Array:
    """1 at every step: the plain ELBO."""
    return jnp.float32(1.0)


def _linear(step: Step, total_steps: int, cycles: int, ratio: Number, zero: Number) -> jax.Array:
    """One ramp, over ratio * T / M steps after the first zero * T / M of the run."""
    return _ramp(elapsed(step, total_steps, cycles), ratio, zero)


def _cyclic(step: Step, total_steps: int, cycles: int, ratio: Number, zero: Number) -> jax.Array:
    """The same ramp in each of the M periods (Eq. 9)."""
    return _ramp(phase(step, total_steps, cycles), ratio, zero)


ANNEALINGS = {
    one.name: one
    for one in (
        Annealing("none", _constant, has_cycles=False, line=":", marker="s"),
        Annealing("linear", _linear, has_cycles=False, line="--", marker="^"),
        Annealing("cyclic", _cyclic, has_cycles=True, line="-", marker="o"),
    )
}


def kl_weight(
    step: Step,
    *,
    annealing: str,
    total_steps: int,
    cycles: int,
    ratio: Number,
    zero: Number = 0.0,
    beta: Number = 1.0,
) -> jax.Array:
    """beta * alpha(t), the weight of the KL term at update `step` (Eqs. 8 and 9).

    Args:
      step: updates done before.
      annealing: a name of `ANNEALINGS`.
      total_steps, cycles: T and M.
      ratio: the share of a period in which alpha rises.
      zero: the share of a period before the rise, in which alpha is 0.
      beta: the weight after the rise (Higgins et al., 2017).

    Raises:
      ValueError: there is no such annealing.
    """
    if annealing not in ANNEALINGS:
        raise ValueError(f"annealing {annealing!r} is none of {', '.join(ANNEALINGS)}")
    alpha = ANNEALINGS[annealing].weight(step, total_steps, cycles, ratio, zero)
    return jnp.asarray(beta, jnp.float32) * alpha
