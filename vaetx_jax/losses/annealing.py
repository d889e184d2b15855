"""What changes with the step: the KL weight alpha(t) and the learning rate.

Both run in periods of T / M steps, T being all steps of the run and M the number of cycles, so
that annealing cycles and cosine restarts stay in phase whatever T is. Steps count from 0: the
first update uses alpha(0). All functions take a Python int or a traced int32 and give a float32.
"""

import math

import jax
import jax.numpy as jnp

Step = int | jax.Array


Number = float | jax.Array


ANNEALINGS = ("none", "linear", "cyclic")


def period_steps(total_steps: int, cycles: int) -> int:
    """Steps of one period, ceil(T / M) (Eq. 9 of the paper)."""
    return math.ceil(total_steps / cycles)


def phase(step: Step, total_steps: int, cycles: int) -> jax.Array:
    """tau of Eq. 9: mod(t, ceil(T / M)) / (T / M), how far this period has come, 0 at its start."""
    into_period = jnp.asarray(step, jnp.int32) % period_steps(total_steps, cycles)
    return into_period.astype(jnp.float32) / jnp.float32(total_steps / cycles)


def kl_weight(
    step: Step, *, annealing: str, total_steps: int, cycles: int, ratio: Number
) -> jax.Array:
    """alpha(t), the weight of the KL term at update `step` (Eqs. 8 and 9).

    `none`: always 1. `linear`: from 0 up to 1 at ratio * T / M steps, then 1 for good.
    `cyclic`: the same ramp at the start of each of the M periods. The paper's Eq. 9 leaves out
    the 1 / ratio that makes the ramp reach 1 where it ends; it is here.
    """
    if annealing == "none":
        return jnp.float32(1.0)
    if annealing == "cyclic":
        tau = phase(step, total_steps, cycles)
    elif annealing == "linear":
        tau = jnp.asarray(step, jnp.float32) / jnp.float32(total_steps / cycles)
    else:
        raise ValueError(f"annealing {annealing!r} is none of {', '.join(ANNEALINGS)}")
    return jnp.minimum(tau / jnp.asarray(ratio, jnp.float32), 1.0)


def cycle_ends(total_steps: int, cycles: int) -> tuple[int, ...]:
    """The numbers of updates done at the end of each period; the last is `total_steps`."""
    period = period_steps(total_steps, cycles)
    return (*range(period, total_steps, period), total_steps)
