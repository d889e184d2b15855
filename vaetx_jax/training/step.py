"""The training state and the pure step that is compiled over the mesh.

All that a run carries from step to step is in `TrainState`; a step's randomness comes from the root
key and the step's number alone. So a resumed run is the uninterrupted one, bit for bit.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from vaetx_jax.losses import annealing, elbo
from vaetx_jax.metrics.summary import perplexity
from vaetx_jax.models.text_vae import LanguageModel
from vaetx_jax.runtime.mesh import (
    DATA_AXIS,
    replicated,
    split_longest,
    split_over_data,
)
from vaetx_jax.training.optimizer import Plan, learning_rate, optimizer
from vaetx_jax.training.state import (
    Sums,
    TrainState,
    fresh_state,
    no_sums,
    state_places,
)


class StepMetrics(NamedTuple):
    """What the host reads of a step, one step late."""

    finite: jax.Array  # false: the step changed no parameter
    sums: Sums
    kl_weight: jax.Array
    learning_rate: jax.Array


def make_train_step(
    model: LanguageModel, plan: Plan, mesh: Mesh, *, shard_state: bool = False
) -> Any:
    """The compiled step: (state, batch, root key) -> (state, StepMetrics).

    The old state's memory is given to the new one. A step whose loss or gradient is not finite
    changes nothing (with `plan.skip_nonfinite`, nothing but the number of steps) but says so, so
    that no such state can ever be saved.
    """

    def step(state: TrainState, batch: dict, key: jax.Array) -> tuple[TrainState, StepMetrics]:
        numbers = _schedules(plan, state.step)
        return _step(model, plan, mesh, state, batch, key, *numbers, split_over=split_over)

    whole, split_over = replicated(mesh), mesh if shard_state else None
    places = state_places(model, plan, mesh, shard_state=shard_state)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(places, split_over_data(mesh), whole),
        out_shardings=(places, whole),
    )


def make_replica_step(model: LanguageModel, plans: Sequence[Plan], mesh: Mesh) -> Any:
    """One compiled step for R runs at once: (states, batch, root keys [R]) -> (states, metrics).

    The runs share their batches and may differ in seed, annealing and learning rate; each has the
    result that it has alone, to float tolerance. Every leaf of the states and metrics has a first
    axis R, which is split over the mesh; each device has the whole batch.

    Raises:
      ValueError: the plans differ in more than annealing and learning rate.
    """
    if len({_shared(plan) for plan in plans}) != 1:
        raise ValueError("replicas may differ in annealing and learning rate alone")

    one = functools.partial(_step, model, plans[0], None)
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
        pairs = [_schedules(plan, jnp.max(states.step)) for plan in plans]
        alphas_R, rates_R = (jnp.stack(values) for values in zip(*pairs, strict=True))
        return each(states, batch, keys, alphas_R, rates_R)

    split = split_over_data(mesh)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(split, replicated(mesh), split),
        out_shardings=split,
    )


def init_replicas(model: LanguageModel, plan: Plan, keys_R: jax.Array, mesh: Mesh) -> TrainState:
    """The states of R runs before their first step, each as `init_state` makes it from its key."""

    make = functools.partial(fresh_state, model, plan)
    return jax.jit(jax.vmap(make), out_shardings=split_over_data(mesh))(keys_R)


def _shared(plan: Plan) -> Plan:
    """A plan without what the runs of one program may differ in."""
    return dataclasses.replace(
        plan, annealing="", ratio=0.0, learning_rate=0.0, final_learning_rate=0.0
    )


def _schedules(plan: Plan, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, learning rate) of an update."""
    alpha = annealing.kl_weight(
        step,
        annealing=plan.annealing,
        total_steps=plan.total_steps,
        cycles=plan.cycles,
        ratio=plan.ratio,
    )
    rate = learning_rate(
        step,
        peak=plan.learning_rate,
        final=plan.final_learning_rate,
        total_steps=plan.total_steps,
        cycles=plan.cycles,
    )
    return alpha, rate


def _step(
    model: LanguageModel,
    plan: Plan,
    mesh: Mesh | None,
    state: TrainState,
    batch: dict[str, jax.Array],
    key: jax.Array,
    alpha: jax.Array,
    rate: jax.Array,
    *,
    split_over: Mesh | None = None,
) -> tuple[TrainState, StepMetrics]:
    loss = functools.partial(
        elbo.negative_elbo,
        model,
        batch=batch,
        key=jax.random.fold_in(key, state.step),
        kl_weight=alpha,
        free_bits=plan.free_bits,
        mesh=mesh,
    )
    params = state.params
    if (
        split_over
    ):  # fetched whole, once: else the compiler splits the products and sends activations
        params = jax.lax.with_sharding_constraint(params, replicated(split_over))
    gradient, terms = jax.grad(loss, has_aux=True)(params)
    if split_over:  # as the moments lie that it is added to
        places = jax.tree.map(lambda leaf: split_longest(leaf.shape, split_over), gradient)
        gradient = jax.lax.with_sharding_constraint(gradient, places)
    norm = _norm(gradient)
    finite = jnp.isfinite(terms.loss) & jnp.isfinite(norm)

    def taken(state: TrainState, gradient: Any) -> TrainState:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to an int32
            updates, moments = optimizer(plan).update(gradient, state.optimizer, state.params)
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        sums = _add(state, _sums(terms, norm), plan.window)
        return TrainState(state.step + 1, params, moments, sums)

    def left_out(state: TrainState, gradient: Any) -> TrainState:
        if not plan.skip_nonfinite:
            return state
        sums = _add(state, no_sums(), plan.window)
        return state._replace(step=state.step + 1, sums=sums)

    # A choice and not a `where`, which would read and write all of the state once more.
    new = jax.lax.cond(finite, taken, left_out, state, gradient)
    return new, StepMetrics(finite, new.sums, alpha, rate)


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
    return {
        "train/loss": sums["loss"] / steps,
        "train/nll": sums["nll"] / sentences,
        "train/kl": sums["kl"] / sentences,
        "train/kl_weight": float(metrics.kl_weight),
        "train/ppl_rec": perplexity(sums["nll"], tokens),
        "train/ppl_elbo": perplexity(sums["nll"] + sums["kl"], tokens),
        "train/learning_rate": float(metrics.learning_rate),
        "train/grad_norm": sums["grad_norm"] / steps,
    }
