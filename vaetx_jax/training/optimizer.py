"""AdamW with a cosine learning rate that restarts with the annealing cycles."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vaetx_jax.losses.annealing import Number, Step, phase


def learning_rate(
    step: Step, *, peak: Number, final: Number, total_steps: int, cycles: int
) -> jax.Array:
    """Cosine from `peak` to `final` over each period of T / M steps, then from `peak` again.

    The paper's warm restarts (Loshchilov and Hutter, 2017) without growing periods.
    """
    tau = jnp.minimum(phase(step, total_steps, cycles), 1.0)
    peak = jnp.asarray(peak, jnp.float32)
    final = jnp.asarray(final, jnp.float32)
    return final + 0.5 * (peak - final) * (1.0 + jnp.cos(jnp.pi * tau))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run's steps are made with, and how many there are.

    Attributes:
      total_steps: T, over which the schedules are laid.
      cycles, ratio, annealing: see `schedules.kl_weight`; learning-rate restarts are in phase.
      learning_rate, final_learning_rate: the ends of the cosine.
      weight_decay, decay: AdamW's, on `all` parameters (as PyTorch's AdamW) or `matrices` alone.
      beta1, beta2: AdamW's moments.
      clip_norm: largest global norm of the gradient; 0: never clipped.
      free_bits: nats of KL a latent dimension that cost nothing.
      window: steps over which logged sums run.
      skip_nonfinite: a step that is not finite counts as done without an update; else it is not
        done, and the host stops.
    """

    total_steps: int
    annealing: str
    cycles: int
    ratio: float
    learning_rate: float
    final_learning_rate: float
    weight_decay: float
    decay: str
    beta1: float
    beta2: float
    clip_norm: float
    free_bits: float
    window: int
    skip_nonfinite: bool


def optimizer(plan: Plan) -> optax.GradientTransformation:
    """AdamW without its learning rate, which the step applies (it may be traced)."""
    clip = [optax.clip_by_global_norm(plan.clip_norm)] if plan.clip_norm > 0 else []
    return optax.chain(
        *clip,
        optax.scale_by_adam(b1=plan.beta1, b2=plan.beta2),
        optax.add_decayed_weights(plan.weight_decay, _matrices if plan.decay != "all" else None),
    )


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
