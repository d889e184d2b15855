"""LSTM and GRU over a whole sequence, with a derivative of our own.

Arrays are feature-major, [features, time, batch]: the products over all steps (of the inputs, and
of the gradients) are then plain ones, without a transposed copy on either side, a step's recurrent
product is a large kernel times a narrow state, the form that processors run fastest, and a gate is
a block of rows. The products of the inputs are made by the caller, all time steps in one.

Automatic differentiation of a scan would add to the kernel's gradient at every step of the reverse
scan, and would compute the derivatives of the gates there one step after the other. Here these
derivatives come first, for all steps at once; the reverse scan carries only the gradients of the
states, one narrow product per step; and the kernel's gradient is one product after it.

Gates are in PyTorch's order: input, forget, cell, output (LSTM); reset, update, new (GRU).
Saved for the derivative, in float32: LSTM 6 and GRU 5 arrays [H, T, B] (states included).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GATES = {"lstm": 4, "gru": 3}

# The gate that, shut, lets no input into a state, and the value before its sigmoid that shuts it:
# the sigmoid is then exactly 0 (1), so that a state of zero stays exactly zero.
_SHUT = {"lstm": (0, -1e4), "gru": (1, 1e4)}


def shut_at_padding(x_GxTxB: jax.Array, mask_TxB: jax.Array, cell: str) -> jax.Array:
    """The inputs of the gates with the input shut where the mask is false: zero states stay zero.

    For the backward direction, which meets a sentence's padding first.
    """
    gate, value = _SHUT[cell]
    rows, steps, batch = x_GxTxB.shape
    x = x_GxTxB.reshape(GATES[cell], rows // GATES[cell], steps, batch)
    shut_Gx1x1x1 = (jnp.arange(GATES[cell]) == gate)[:, None, None, None]
    shut_Gx1xTxB = shut_Gx1x1x1 & ~mask_TxB[None, None]
    return jnp.where(shut_Gx1xTxB, value, x).reshape(x_GxTxB.shape)


def product(a: jax.Array, b: jax.Array, contract: tuple[Any, Any], dtype: Any) -> jax.Array:
    """`dot_general` over the axes `contract` with operands in `dtype` (None: as they are), in
    float32 sums."""
    if dtype is not None:
        a, b = a.astype(dtype), b.astype(dtype)
    return lax.dot_general(a, b, (contract, ((), ())), preferred_element_type=jnp.float32)


def _matmul(a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
    return product(a, b, ((1,), (0,)), dtype)


def _over_time(step: Any, carry: Any, xs: Any, reverse: bool) -> tuple[Any, Any]:
    """`lax.scan` over the last axis but one of every array, which is where time is here."""
    length = jax.tree.leaves(xs)[0].shape[-2]

    def at(t: jax.Array | int) -> Any:
        take = functools.partial(lax.dynamic_index_in_dim, index=t, keepdims=False)
        return jax.tree.map(lambda x: take(x, axis=x.ndim - 2), xs)

    def body(i: jax.Array, state: Any) -> Any:
        carry, outs = state
        t = length - 1 - i if reverse else i
        carry, new = step(carry, at(t))
        put = functools.partial(lax.dynamic_update_index_in_dim, index=t)
        return carry, jax.tree.map(lambda out, y: put(out, y, axis=out.ndim - 2), outs, new)

    shapes = jax.eval_shape(step, carry, at(0))[1]
    outs = jax.tree.map(
        lambda like: jnp.zeros((*like.shape[:-1], length, like.shape[-1]), like.dtype), shapes
    )
    return lax.fori_loop(0, length, body, (carry, outs))


def _before(first_HxB: jax.Array, states_HxTxB: jax.Array, reverse: bool) -> jax.Array:
    """The state that each step started from."""
    first_Hx1xB = first_HxB[:, None]
    if reverse:
        return jnp.concatenate([states_HxTxB[:, 1:], first_Hx1xB], axis=1)
    return jnp.concatenate([first_Hx1xB, states_HxTxB[:, :-1]], axis=1)


def _kernel_gradient(d_GxTxB: jax.Array, h_HxTxB: jax.Array, dtype: Any) -> jax.Array:
    return product(d_GxTxB, h_HxTxB, ((1, 2), (1, 2)), dtype)


def lstm_step(
    x_GxB: jax.Array, kernel_GxH: jax.Array, h: jax.Array, c: jax.Array, dtype: Any = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step: the new h and c [H, B], and what the derivative wants, `_lstm_gates`' input."""
    # A sigmoid is a tanh of half the argument; so all gates are one tanh over one array.
    scale_Gx1 = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), h.shape[0])[:, None]
    tanh_GxB = jnp.tanh((x_GxB + _matmul(kernel_GxH, h, dtype)) * scale_Gx1)
    i, f, g, o = _lstm_gates(tanh_GxB)
    c = f * c + i * g
    return o * jnp.tanh(c), c, tanh_GxB


def _lstm_gates(tanh_GxB: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    i, f, g, o = jnp.split(tanh_GxB, 4)
    return 0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def lstm(
    x_GxTxB: jax.Array,
    bias_G: jax.Array,
    kernel_GxH: jax.Array,
    h_HxB: jax.Array,
    c_HxB: jax.Array,
    reverse: bool = False,
    dtype: Any = None,
) -> jax.Array:
    """h [H, T, B] of every step of an LSTM (Hochreiter and Schmidhuber, 1997; with forget gate).

    Args:
      x_GxTxB: what the inputs add to the gates, G = 4 H.
      bias_G: what both biases add.
      kernel_GxH: the recurrent kernel.
      h_HxB: the start state h.
      c_HxB: the start state c.
      reverse: from the last step to the first.
      dtype: of the products' operands (None: as they are); states and sums are float32.
    """
    return _lstm_forward(x_GxTxB, bias_G, kernel_GxH, h_HxB, c_HxB, reverse, dtype)[0]


def _lstm_forward(
    x_GxTxB: jax.Array,
    bias_G: jax.Array,
    kernel: jax.Array,
    h_HxB: jax.Array,
    c_HxB: jax.Array,
    reverse: bool,
    dtype: Any,
) -> tuple[jax.Array, Any]:
    def step(state: Any, x_GxB: jax.Array) -> Any:
        h, c, tanh = lstm_step(x_GxB + bias_G[:, None], kernel, state[0], state[1], dtype)
        return (h, c), (h, c, tanh)

    _, (h_T, c_T, tanh_T) = _over_time(step, (h_HxB, c_HxB), x_GxTxB, reverse)
    return h_T, (kernel, h_HxB, c_HxB, h_T, c_T, tanh_T)


def _lstm_backward(reverse: bool, dtype: Any, saved: Any, dh_HxTxB: jax.Array) -> Any:
    kernel, h_HxB, c_HxB, h_T, c_T, tanh_T = saved
    size = h_HxB.shape[0]
    i, f, g, o = _lstm_gates(tanh_T)
    tanh_c = jnp.tanh(c_T)
    # What a gradient of c (of the first three gates) or of h (of the output gate, and of c) is
    # times to become the gradient before the sigmoid or tanh.
    by_c = [g * i * (1 - i), _before(c_HxB, c_T, reverse) * f * (1 - f), i * (1 - g * g)]
    by_c_GxTxB = jnp.concatenate(by_c)
    by_h = tanh_c * o * (1 - o)
    c_by_h = o * (1 - tanh_c * tanh_c)
    to_h_from_c, to_h_from_o = kernel[: 3 * size].T, kernel[3 * size :].T

    def gate_gradients(by_c_GxB: jax.Array, dc: jax.Array) -> jax.Array:
        wide = by_c_GxB.reshape(3, *dc.shape) * dc[None]
        return wide.reshape(by_c_GxB.shape)

    def step(gradient: Any, x: Any) -> Any:
        dh, dc = gradient
        dh_out, by_c_GxB, by_h, c_by_h, f = x
        dh = dh + dh_out
        dc = dc + dh * c_by_h
        before = _matmul(to_h_from_c, gate_gradients(by_c_GxB, dc), dtype)
        before = before + _matmul(to_h_from_o, by_h * dh, dtype)
        return (before, dc * f), (dh, dc)

    start = (jnp.zeros_like(h_HxB), jnp.zeros_like(c_HxB))
    xs = (dh_HxTxB, by_c_GxTxB, by_h, c_by_h, f)
    (dh, dc), (dh_T, dc_T) = _over_time(step, start, xs, not reverse)
    d_GxTxB = jnp.concatenate([gate_gradients(by_c_GxTxB, dc_T), by_h * dh_T])
    dkernel = _kernel_gradient(d_GxTxB, _before(h_HxB, h_T, reverse), dtype)
    return d_GxTxB, jnp.sum(d_GxTxB, axis=(1, 2)), dkernel, dh, dc


lstm.defvjp(_lstm_forward, _lstm_backward)


def gru_step(
    x_GxB: jax.Array, kernel_GxH: jax.Array, bias_H: jax.Array, h: jax.Array, dtype: Any = None
) -> tuple[jax.Array, Any]:
    """One step: the new h [H, B], and what the derivative wants: r, z, n, and n's recurrent part.

    `bias_H` is the recurrent bias of the new gate, the only one inside the reset gate's product.
    """
    size = h.shape[0]
    recurrent_GxB = _matmul(kernel_GxH, h, dtype)
    gates = 0.5 * jnp.tanh(0.5 * (x_GxB[: 2 * size] + recurrent_GxB[: 2 * size])) + 0.5
    r, z = gates[:size], gates[size:]
    inner = recurrent_GxB[2 * size :] + bias_H[:, None]
    n = jnp.tanh(x_GxB[2 * size :] + r * inner)
    return (1 - z) * n + z * h, (gates, n, inner)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def gru(
    x_GxTxB: jax.Array,
    bias_G: jax.Array,
    kernel_GxH: jax.Array,
    bias_H: jax.Array,
    h_HxB: jax.Array,
    reverse: bool = False,
    dtype: Any = None,
) -> jax.Array:
    """h [H, T, B] of every step of a GRU (Cho et al., 2014; reset after the product, as cuDNN).

    Args:
      x_GxTxB: what the inputs add to the gates, G = 3 H.
      bias_G: what the biases but one add.
      kernel_GxH: the recurrent kernel.
      bias_H: the recurrent bias of the new gate.
      h_HxB: the start state.
      reverse: from the last step to the first.
      dtype: of the products' operands (None: as they are); states and sums are float32.
    """
    return _gru_forward(x_GxTxB, bias_G, kernel_GxH, bias_H, h_HxB, reverse, dtype)[0]


def _gru_forward(
    x_GxTxB: jax.Array,
    bias_G: jax.Array,
    kernel: jax.Array,
    bias_H: jax.Array,
    h_HxB: jax.Array,
    reverse: bool,
    dtype: Any,
) -> tuple[jax.Array, Any]:
    def step(h: jax.Array, x_GxB: jax.Array) -> Any:
        h, saved = gru_step(x_GxB + bias_G[:, None], kernel, bias_H, h, dtype)
        return h, (h, saved)

    _, (h_T, saved) = _over_time(step, h_HxB, x_GxTxB, reverse)
    return h_T, (kernel, h_HxB, h_T, *saved)


def _gru_backward(reverse: bool, dtype: Any, saved: Any, dh_HxTxB: jax.Array) -> Any:
    kernel, h_HxB, h_T, gates_T, n, inner = saved
    r, z = jnp.split(gates_T, 2)
    before_HxTxB = _before(h_HxB, h_T, reverse)
    # What a gradient of h is times to become the gradient before a sigmoid or tanh.
    by_n = (1 - z) * (1 - n * n)
    by_r = by_n * inner * r * (1 - r)
    by_z = (before_HxTxB - n) * z * (1 - z)
    by_h_3xHxTxB = jnp.stack([by_r, by_z, by_n * r])
    to_h = kernel.T

    def step(gradient: jax.Array, x: Any) -> Any:
        dh_out, by_h_3xHxB, z = x
        dh = gradient + dh_out
        d_GxB = (by_h_3xHxB * dh[None]).reshape(kernel.shape[0], -1)
        return dh * z + _matmul(to_h, d_GxB, dtype), dh

    xs = (dh_HxTxB, by_h_3xHxTxB, z)
    dh, dh_T = _over_time(step, jnp.zeros_like(h_HxB), xs, not reverse)
    recurrent_GxTxB = (by_h_3xHxTxB * dh_T[None]).reshape(kernel.shape[0], *h_T.shape[1:])
    dkernel = _kernel_gradient(recurrent_GxTxB, before_HxTxB, dtype)
    rows = 2 * h_HxB.shape[0]
    dx_GxTxB = jnp.concatenate([recurrent_GxTxB[:rows], by_n * dh_T])
    dbias_G, dbias_H = (jnp.sum(d, axis=(1, 2)) for d in (dx_GxTxB, recurrent_GxTxB[rows:]))
    return dx_GxTxB, dbias_G, dkernel, dbias_H, dh


gru.defvjp(_gru_forward, _gru_backward)
