"""The two phases of a run with `train.warm_up`: a language model or an autoencoder first, the VAE.

Each phase has its own cosine of the learning rate; the cycles of annealing are those of the second.
After the last step of the warm-up the optimizer's moments are reset and the learning rate rises
from zero again. An autoencoder's decoder is initialised again (Li et al., 2019), so that the VAE
starts from the encoder alone; a language model's gets little of z at first, so that it stays one.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from vaetx_jax.config.defaults import OptimizerSettings
from vaetx_jax.errors import ConfigError
from vaetx_jax.losses import annealing
from vaetx_jax.losses.annealing import Step
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.training.optimizer import learning_rate, moments
from vaetx_jax.training.state import TrainState

DECODER = ("decoder", "output_layer")  # what a language model is made of
ENCODER = ("encoder", "mu", "logvar", "channel", "mu_shift")  # what makes the posterior
# Of the kernels that lead the latent into a language model, which must not be drowned in noise.
LATENT_SCALE = 0.1
LATENT_KERNELS = ("project", "slot_key", "slot_value", "prefix_key", "prefix_value")
# Steps in which the learning rate rises after a warm-up, as the optimizer has lost its moments, and
# the largest share of the second phase that they take.
RISE, RISE_SHARE = 50, 0.1


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """The first phase of a run.

    Attributes:
      kind: `language_model`: z is 0, there is no KL, and the decoder and the output layer alone are
        trained; `autoencoder`: the KL weight is 0.
      steps: of the phase.
      learning_rate: at the start of its cosine.
    """

    kind: str
    steps: int
    learning_rate: float


def warm_up_of(train: Any, total_steps: int, *, cycles: int) -> WarmUp | None:
    """The warm-up of a run of `total_steps`, or None.

    Args:
      train: `config.train`.
      cycles: of the second phase.

    Raises:
      ConfigError: a phase has too few steps.
    """
    if train.warm_up == "none":
        return None
    steps = round(train.warm_up_share * total_steps)
    if steps < 1 or total_steps - steps < cycles:
        raise ConfigError(
            f"config.train.warm_up_share = {train.warm_up_share}: of {total_steps:,} steps it "
            f"leaves {steps:,} to the warm-up and {total_steps - steps:,} to the {cycles} cycles "
            "after it"
        )
    rate = train.warm_up_learning_rate or train.learning_rate
    return WarmUp(train.warm_up, steps, rate)


def kl_weight(
    step: Step, objective: Objective, total_steps: int, warm_up: WarmUp | None
) -> jax.Array:
    """alpha of an update: 0 in the warm-up, then as `objective` has it over the other steps."""
    before = warm_up.steps if warm_up else 0
    alpha = annealing.kl_weight(
        jnp.maximum(step - before, 0) if warm_up else step,
        annealing=objective.annealing,
        total_steps=total_steps - before,
        cycles=objective.cycles,
        ratio=objective.ratio,
        zero=objective.zero,
        beta=objective.beta,
    )
    return jnp.where(step < before, jnp.float32(0.0), alpha) if warm_up else alpha


def rate(
    step: Step, optimizer: OptimizerSettings, total_steps: int, cycles: int, warm_up: WarmUp | None
) -> jax.Array:
    """The learning rate of an update."""
    before = warm_up.steps if warm_up else 0
    second = learning_rate(
        jnp.maximum(step - before, 0) if warm_up else step,
        peak=optimizer.learning_rate,
        final=optimizer.final_learning_rate,
        total_steps=total_steps - before,
        cycles=cycles,
    )
    if warm_up is None:
        return second
    final = min(optimizer.final_learning_rate, warm_up.learning_rate)
    first = learning_rate(
        step, peak=warm_up.learning_rate, final=final, total_steps=before, cycles=1
    )
    over = min(RISE, RISE_SHARE * (total_steps - before))
    rise = jnp.minimum((jnp.asarray(step, jnp.float32) - before + 1) / over, 1.0)
    return jnp.where(step < before, first, rise * second)


def second_phase(state: TrainState, fresh: TrainState, warm_up: WarmUp) -> TrainState:
    """The state that the second phase starts from: a function of the states alone.

    Args:
      state: after the last step of the warm-up.
      fresh: before the first step of the run, placed alike.
    """
    params = state.params
    if warm_up.kind == "autoencoder":
        params = {
            name: tree if name in ENCODER else fresh.params[name] for name, tree in params.items()
        }
    if warm_up.kind == "language_model":
        params = _with_quiet_latent(params)
    return state.with_params(params)._replace(optimizer=fresh.optimizer)


def check_phase(state: TrainState, warm_up: WarmUp | None, *, skips: bool) -> None:
    """Checks that a saved state is in the phase in which the schedule has it.

    With another number of steps or share, the warm-up ends elsewhere: a finished run would go back
    to it, or one that is in it would never be switched. The moments, which the switch resets, tell.

    Args:
      skips: steps that are not finite are left out, so that moments may have fewer updates than
        the state has steps.

    Raises:
      ConfigError: it is in the other one.
    """
    done = int(state.step)
    switched = int(moments(state.optimizer).count) < done
    if warm_up is None or switched == (done >= warm_up.steps) or (switched and skips):
        return
    is_now = "has left its warm-up" if switched else "is still in its warm-up"
    raise ConfigError(
        f"config.train: after step {done:,} this run {is_now}, which by the settings given now "
        f"ends at step {warm_up.steps:,}. Give train.epochs, steps, max_steps, warm_up and "
        "warm_up_share as they were, or start a new run from this one by train.init_from"
    )


def _with_quiet_latent(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the decoder's kernels of z, which are still random, made small.

    With z = 0 none of them had a gradient.
    """

    def quiet(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.Array) -> jax.Array:
        names = [str(key.key) for key in path]
        of_latent = names[-1] != "bias" and not set(LATENT_KERNELS).isdisjoint(names)
        return LATENT_SCALE * leaf if of_latent else leaf

    return {**params, "decoder": jax.tree_util.tree_map_with_path(quiet, params["decoder"])}


def keep_all_but_decoder(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The new parameters of decoder and output layer, the old ones of all else.

    A language model gives the rest no gradient, but weight decay would shrink it.
    """
    return {name: new[name] if name in DECODER else old[name] for name in old}


def trains_language_model(warm_up: WarmUp | None, index: int) -> bool:
    """Whether the step after `index` updates is one of a language model."""
    return warm_up is not None and warm_up.kind == "language_model" and index < warm_up.steps
