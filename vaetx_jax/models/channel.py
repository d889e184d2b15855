"""A posterior whose rate is set by construction: a Gaussian channel with a budget of nats.

z = g u + sqrt(1 - g^2) eps, u being a sentence's summary, standardised over the training split. So
KL(q(z|x) || p(z)) is the budget, however the encoder and the decoder are trained, and the
aggregated posterior is near the prior.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

NORMS = ("split", "sentence")
EVEN_SHARE = 0.25  # of the budget, which no dimension can lose
SHARPNESS = 3.0  # of the learnt shares: an allocation moves so much faster than other parameters


class Channel(nn.Module):
    """u [B, Z] to the posterior's mu and log-variance [B, Z].

    With g_j^2 = 1 - exp(-2 r_j), a dimension's KL is r_j + g_j^2 (u_j^2 - 1) / 2 nats.

    Attributes:
      latent_dim: Z.
      rate: the budget R, nats: the sum of all r_j.
      norm: where the KL is R: in every sentence (`sentence`: u is scaled to the length for which it
        is, so the rate holds between two updates of the statistics, too), or on average over the
        training split (`split`).
    """

    latent_dim: int
    rate: float
    norm: str = "sentence"

    def setup(self) -> None:
        self.allocation = self.param("allocation", nn.initializers.zeros, (self.latent_dim,))

    def rates(self) -> jax.Array:
        """r_j, nats, [Z]: a quarter of the budget evenly, the rest by learnt shares."""
        shares_Z = jax.nn.softmax(SHARPNESS * self.allocation)
        return self.rate * (EVEN_SHARE / self.latent_dim + (1 - EVEN_SHARE) * shares_Z)

    def gains(self) -> jax.Array:
        """g_j, [Z]; g z is E[u | z]."""
        return jnp.sqrt(-jnp.expm1(-2.0 * self.rates()))

    def __call__(self, u_BxZ: jax.Array) -> tuple[jax.Array, jax.Array]:
        rates_Z, gains_Z = self.rates(), self.gains()
        mu_BxZ = u_BxZ * gains_Z[None]
        if self.norm == "sentence":
            square_Bx1 = jnp.sum(jnp.square(mu_BxZ), axis=1, keepdims=True)
            wanted = jnp.sum(jnp.square(gains_Z))
            mu_BxZ = mu_BxZ * jnp.sqrt(wanted / jnp.maximum(square_Bx1, 1e-6))
        return mu_BxZ, jnp.broadcast_to(-2.0 * rates_Z[None], mu_BxZ.shape)
