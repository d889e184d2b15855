"""AdamW with a cosine learning rate that restarts with the annealing cycles."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from vaetx_jax.config.defaults import OptimizerSettings
from vaetx_jax.losses.annealing import Number, Step, phase

if TYPE_CHECKING:
    import optax


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


def make_optimizer(settings: OptimizerSettings) -> "optax.GradientTransformation":
    """AdamW without its learning rate, which the step applies (it may be traced)."""
    # Slow to import, so imported here; under a trace its constants must not become tracers.
    with jax.ensure_compile_time_eval():
        import optax

    clip = [optax.clip_by_global_norm(settings.clip_norm)] if settings.clip_norm > 0 else []
    decayed = None if settings.decay == "all" else _matrices
    return optax.chain(
        *clip,
        optax.scale_by_adam(b1=settings.beta1, b2=settings.beta2),
        optax.add_decayed_weights(settings.weight_decay, decayed),
    )


def is_chain(state: Any) -> bool:
    """Whether it is the state of `make_optimizer`, as optax or a file has it: a list of parts."""
    return type(state) in (tuple, list) and any(map(is_moments, state))


def is_moments(part: Any) -> bool:
    """Whether a part of the optimizer's state is Adam's; no other part holds numbers."""
    return "mu" in getattr(part, "_fields", part if isinstance(part, dict) else ())


def moments(state: Any) -> Any:
    """Adam's part of the optimizer's state: the number of updates and both moments."""
    return next(filter(is_moments, state))


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
