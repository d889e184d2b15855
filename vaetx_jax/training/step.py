"""The training state and the pure step that is compiled over the mesh.

`TrainState` holds all that a run carries from step to step, and a step's randomness comes from the
root key and the step's number alone. So a resumed run is the uninterrupted one, bit for bit.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vaetx_jax.config.defaults import OptimizerSettings
from vaetx_jax.losses import elbo
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.metrics.summary import perplexity
from vaetx_jax.models import freeze
from vaetx_jax.models.language_model import PARAMS, LanguageModel, Variables
from vaetx_jax.runtime.mesh import DATA_AXIS, replicated, split_longest, split_over_data
from vaetx_jax.training import aggressive, phases
from vaetx_jax.training.auxiliary import BAG, MULTIPLIER, Learned, updated_auxiliary
from vaetx_jax.training.optimizer import make_optimizer
from vaetx_jax.training.phases import WarmUp
from vaetx_jax.training.state import Sums, TrainState, fresh_state, no_sums, state_shardings


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """The settings of a run's steps.

    Attributes:
      objective, optimizer: of the loss and of the updates.
      total_steps: T, over which the schedules are laid.
      window: steps over which logged sums run.
      warm_up: the first phase; None: there is none.
      skip_nonfinite: a step that is not finite counts as done without an update; else it is not
        done, and the host stops.
    """

    objective: Objective
    optimizer: OptimizerSettings
    total_steps: int
    window: int
    skip_nonfinite: bool
    warm_up: WarmUp | None = None


class StepMetrics(NamedTuple):
    """The metrics of a step; the host reads them one step later."""

    finite: jax.Array  # false: the step changed no variable
    sums: Sums
    kl_weight: jax.Array
    learning_rate: jax.Array
    multiplier: jax.Array | None = None  # of a target rate, after the step


@dataclasses.dataclass(frozen=True)
class Placement:
    """The mesh that each part of a step is split over; None: it is whole on every device.

    Attributes:
      batch: of the batch's rows.
      params: of the optimizer's moments and the large parameters.
    """

    batch: Mesh | None
    params: Mesh | None


def make_train_step(
    model: LanguageModel,
    settings: StepSettings,
    mesh: Mesh,
    *,
    shard_state: bool = False,
    latent: bool = True,
) -> Any:
    """The compiled step: (state, batch, root key) -> (state, StepMetrics).

    The old state's memory is given to the new one. A step whose loss or gradient is not finite
    changes nothing (with `skip_nonfinite`, nothing but the number of steps) but says so, so that no
    such state can ever be saved.

    Args:
      shard_state: see `state_shardings`.
      latent: false: the step trains the decoder as a language model, with z = 0.
    """
    placement = Placement(batch=mesh, params=mesh if shard_state else None)

    def step(state: TrainState, batch: dict, key: jax.Array) -> tuple[TrainState, StepMetrics]:
        schedules = _schedules(settings, state.step)
        return _step(model, settings, placement, latent, state, batch, key, *schedules)

    shardings = state_shardings(
        model, settings.optimizer, mesh, shard_state=shard_state, objective=settings.objective
    )
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, split_over_data(mesh), replicated(mesh)),
        out_shardings=(shardings, replicated(mesh)),
    )


def make_replica_step(
    model: LanguageModel, settings: Sequence[StepSettings], mesh: Mesh, *, latent: bool = True
) -> Any:
    """One compiled step for R runs at once: (states, batch, root keys [R]) -> (states, metrics).

    The runs share their batches and may differ in seed, annealing and learning rate; each has the
    result that it has alone, to float tolerance. Every leaf of the states and metrics has a first
    axis R, which is split over the mesh; each device has the whole batch.

    Raises:
      ValueError: the settings differ in more than annealing and learning rate.
    """
    if len({_shared(one) for one in settings}) != 1:
        raise ValueError("replicas may differ in annealing and learning rate alone")

    one = functools.partial(_step, model, settings[0], Placement(batch=None, params=None), latent)
    apart, whole = PartitionSpec(DATA_AXIS), PartitionSpec()
    each = jax.shard_map(
        jax.vmap(one, in_axes=(0, None, 0, 0, 0)),
        mesh=mesh,
        in_specs=(apart, whole, apart, apart, apart),
        out_specs=apart,
        check_vma=False,  # no device talks to another; and its check cannot batch a `cond`
    )

    def step(states: TrainState, batch: dict, keys: jax.Array) -> tuple[TrainState, StepMetrics]:
        # The schedules differ, so they come in as numbers. Steps are the same for all, but of a run
        # that is no longer finite, which stays behind.
        pairs = [_schedules(one, jnp.max(states.step)) for one in settings]
        alphas_R, rates_R = (jnp.stack(values) for values in zip(*pairs, strict=True))
        return each(states, batch, keys, alphas_R, rates_R)

    split = split_over_data(mesh)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(split, replicated(mesh), split),
        out_shardings=split,
    )


def init_replicas(
    model: LanguageModel,
    optimizer: OptimizerSettings,
    keys_R: jax.Array,
    mesh: Mesh,
    *,
    objective: Objective | None = None,
) -> TrainState:
    """The states of R runs before their first step, each as `init_state` makes it from its key."""
    make = functools.partial(fresh_state, model, optimizer, objective=objective)
    return jax.jit(jax.vmap(make), out_shardings=split_over_data(mesh))(keys_R)


def _shared(settings: StepSettings) -> StepSettings:
    """The settings without those in which the runs of one program may differ."""
    objective = dataclasses.replace(
        settings.objective, annealing="none", ratio=1.0, zero=0.0, beta=1.0
    )
    optimizer = dataclasses.replace(settings.optimizer, learning_rate=0.0, final_learning_rate=0.0)
    warm_up = settings.warm_up and dataclasses.replace(settings.warm_up, learning_rate=0.0)
    return dataclasses.replace(settings, objective=objective, optimizer=optimizer, warm_up=warm_up)


def _schedules(settings: StepSettings, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, learning rate) of an update."""
    objective, total, warm_up = settings.objective, settings.total_steps, settings.warm_up
    rate = phases.rate(step, settings.optimizer, total, objective.cycles, warm_up)
    return phases.kl_weight(step, objective, total, warm_up), rate


def _step(
    model: LanguageModel,
    settings: StepSettings,
    placement: Placement,
    latent: bool,
    state: TrainState,
    batch: dict[str, jax.Array],
    key: jax.Array,
    alpha: jax.Array,
    rate: jax.Array,
) -> tuple[TrainState, StepMetrics]:
    objective = settings.objective if latent else Objective()
    # Frozen parameters stay outside of the gradient, the update and the choice below.
    trained, frozen = freeze.split(state.params, model.freeze)
    state = state.with_params(trained)
    loss = functools.partial(
        _with_frozen(elbo.negative_elbo, frozen, placement.params),
        model,
        batch=batch,
        key=jax.random.fold_in(key, state.step),
        objective=objective,
        kl_weight=alpha,
        mesh=placement.batch,
        latent=latent,
        multiplier=state.auxiliary.get(MULTIPLIER) if latent else None,
    )
    bag = state.auxiliary.get(BAG) if latent else None
    (gradient, bag_gradient), terms, updated = _gradient(
        loss, state.variables, bag, placement.params
    )
    norm = _norm((gradient, bag_gradient))
    finite = jnp.isfinite(terms.loss) & jnp.isfinite(norm)

    def taken(
        state: TrainState, gradient: Any, bag_gradient: Any, updated: Variables
    ) -> TrainState:
        params, moments = _update(settings.optimizer, state, gradient, rate)
        auxiliary = state.auxiliary
        if not latent:
            params = phases.keep_all_but_decoder(params, state.params)
        else:
            learned = Learned(bag_gradient, terms.kl / jnp.maximum(terms.sentences, 1.0))
            auxiliary = updated_auxiliary(auxiliary, learned, objective, settings.optimizer, rate)
        if objective.aggressive:
            moves = aggressive.moves_decoder(
                state.step, objective.aggressive, settings.total_steps, settings.warm_up
            )
            params = aggressive.keep_decoder(params, state.params, moves)
        sums = _add(state, _sums(terms, norm), settings.window)
        return TrainState(state.step + 1, {**updated, PARAMS: params}, moments, sums, auxiliary)

    def left_out(
        state: TrainState, gradient: Any, bag_gradient: Any, updated: Variables
    ) -> TrainState:
        if not settings.skip_nonfinite:
            return state
        sums = _add(state, no_sums(), settings.window)
        return state._replace(step=state.step + 1, sums=sums)

    # A choice and not a `where`, which would read and write all of the state once more.
    new = jax.lax.cond(finite, taken, left_out, state, gradient, bag_gradient, updated)
    new = new.with_params(freeze.join(new.params, frozen))
    return new, StepMetrics(finite, new.sums, alpha, rate, new.auxiliary.get(MULTIPLIER))


def _with_frozen(loss: Any, frozen: Any, mesh: Mesh | None) -> Any:
    """A loss of all variables as one of those that are trained."""
    if not frozen:
        return loss
    if mesh:
        frozen = jax.lax.with_sharding_constraint(frozen, replicated(mesh))

    def of_trained(model: LanguageModel, variables: Variables, **rest: Any) -> Any:
        params = freeze.join(variables[PARAMS], frozen)
        return loss(model, {**variables, PARAMS: params}, **rest)

    return of_trained


def _gradient(
    loss: Any, variables: Variables, bag: Any, mesh: Mesh | None
) -> tuple[tuple[Any, Any], elbo.Terms, Variables]:
    """(gradient by the parameters and by the bag, the loss's terms, the other collections after).

    Args:
      loss: variables, bag -> (loss, (terms, the other collections)).
      bag: the bag-of-words layer; None: there is none.
      mesh: the mesh the parameters are split over; None: they are whole on every device.
    """
    params = variables[PARAMS]
    if mesh:
        # Fetched whole, once: else the compiler splits the products and sends activations.
        params = jax.lax.with_sharding_constraint(params, replicated(mesh))
    (gradient, bag_gradient), (terms, updated) = jax.grad(
        lambda params, bag: loss({**variables, PARAMS: params}, bag=bag),
        argnums=(0, 1),
        has_aux=True,
    )(params, bag)
    if mesh:  # placed as the moments that it is added to
        places = jax.tree.map(lambda leaf: split_longest(leaf.shape, mesh), gradient)
        gradient = jax.lax.with_sharding_constraint(gradient, places)
    return (gradient, bag_gradient), terms, updated


def _update(
    optimizer: OptimizerSettings, state: TrainState, gradient: Any, rate: jax.Array
) -> tuple[Any, Any]:
    """The trained parameters and the optimizer's state after an update."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to an int32
        adamw = make_optimizer(optimizer)
        updates, moments = adamw.update(gradient, state.optimizer, state.params)
    return jax.tree.map(lambda p, u: p - rate * u, state.params, updates), moments


def _norm(tree: Any) -> jax.Array:
    """The global norm, by inner products: on a CPU they take a third of the time of plain sums."""
    highest = jax.lax.Precision.HIGHEST
    squares = [jnp.vdot(leaf, leaf, precision=highest) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.sum(jnp.stack(squares)))


def _sums(terms: elbo.Terms, norm: jax.Array) -> Sums:
    return Sums(
        loss=terms.loss,
        nll=terms.nll,
        kl=terms.kl,
        sentences=terms.sentences,
        tokens=terms.tokens,
        grad_norm=norm,
        steps=jnp.float32(1.0),
    )


def _add(state: TrainState, now: Sums, window: int) -> Sums:
    """The window's sums with this step's; a new window begins after a logged step."""
    carried = (state.step % window != 0).astype(jnp.float32)
    return jax.tree.map(lambda old, new: carried * old + new, state.sums, now)


def window_metrics(metrics: StepMetrics) -> dict[str, float]:
    """A logging window's means as named in `metrics.jsonl` (train/...), over the steps taken."""
    sums = {name: float(value) for name, value in metrics.sums._asdict().items()}
    sentences, tokens = max(sums["sentences"], 1.0), max(sums["tokens"], 1.0)
    steps = max(sums["steps"], 1.0)
    learnt = {} if metrics.multiplier is None else {"train/multiplier": float(metrics.multiplier)}
    return {
        "train/loss": sums["loss"] / steps,
        "train/nll": sums["nll"] / sentences,
        "train/kl": sums["kl"] / sentences,
        "train/kl_weight": float(metrics.kl_weight),
        "train/ppl_rec": perplexity(sums["nll"], tokens),
        "train/ppl_elbo": perplexity(sums["nll"] + sums["kl"], tokens),
        "train/learning_rate": float(metrics.learning_rate),
        "train/grad_norm": sums["grad_norm"] / steps,
        **learnt,
    }
