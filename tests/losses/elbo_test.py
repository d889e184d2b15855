"""The training loss against a plain softmax, batch layouts against each other, remedies by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import tiny
from vaetx_jax.losses import elbo
from vaetx_jax.losses.bag_of_words import BagWeights, bag_of_words_nll
from vaetx_jax.losses.mmd import mmd

MODEL = tiny.vae(layers=1)
PIECES = tiny.sentences(9)
KEY = jax.random.key(5)


def loss_of(params, batch, key, kl_weight, *, free_bits=0.0, target_rate=0.0, mmd=0.0, model=MODEL):
    return elbo.negative_elbo(
        model,
        {"params": params},
        batch,
        key,
        objective=elbo.Objective(free_bits=free_bits, target_rate=target_rate, mmd=mmd),
        kl_weight=jnp.asarray(kl_weight, jnp.float32),
        mesh=tiny.one_device(),
    )


forward_alone = jax.jit(loss_of, static_argnames=("free_bits", "target_rate", "mmd", "model"))
forward_and_back = jax.jit(jax.value_and_grad(loss_of, has_aux=True))


def terms_and_gradient(params, batch, kl_weight, *, key=KEY):
    (value, (terms, _)), gradient = forward_and_back(params, batch, key, kl_weight)
    return terms._replace(loss=value), gradient


def terms_of(params, batch, kl_weight, *, key=KEY, **other):
    if other:
        value, (terms, _) = forward_alone(params, batch, key, kl_weight, **other)
        return terms._replace(loss=value)
    return terms_and_gradient(params, batch, kl_weight, key=key)[0]


@pytest.fixture(scope="module")
def params():
    return tiny.params_of(MODEL)


@pytest.fixture(scope="module")
def certain(params):
    """Posteriors so narrow that z is mu: no noise, which hangs on a row's place in its batch."""
    kernel, bias = params["logvar"]["kernel"], params["logvar"]["bias"]
    return params | {"logvar": {"kernel": 0.0 * kernel, "bias": 0.0 * bias - 40.0}}


def batch(pieces=PIECES, **layout):
    return tiny.on_device(tiny.batch_of(pieces, **{"length": 14} | layout))


def assert_trees_agree(a, b, *, tolerance=1e-5):
    scale = max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * scale)


def plain_nll(params, ids_BxS, z_BxZ):
    """-log p(x|z) of each sentence by a softmax over all logits."""
    h_BxTxD = MODEL.apply({"params": params}, ids_BxS, z_BxZ, method="decode")
    kernel_VxD, bias_V = MODEL.apply({"params": params}, method="output")
    log_p_BxTxV = jax.nn.log_softmax(h_BxTxD @ kernel_VxD.T + bias_V[None, None])
    target_BxT = ids_BxS[:, 1:]
    nll_BxT = -jnp.take_along_axis(log_p_BxTxV, target_BxT[..., None], axis=2)[..., 0]
    return jnp.sum(jnp.where(target_BxT != tiny.PAD, nll_BxT, 0.0), axis=1)


@jax.jit
def plain_loss(params, ids_BxS, kl_weight):
    """Mean a sentence of nll + alpha KL, for posteriors without noise; (loss, (nll, kl) sums)."""

    def loss(params):
        mu, logvar = MODEL.apply({"params": params}, ids_BxS, method="encode")
        nll_B = plain_nll(params, ids_BxS, mu)
        kl_B = 0.5 * jnp.sum(jnp.exp(logvar) + mu**2 - 1.0 - logvar, axis=1)
        return jnp.mean(nll_B + kl_weight * kl_B), (jnp.sum(nll_B), jnp.sum(kl_B))

    return jax.value_and_grad(loss, has_aux=True)(params)


@pytest.mark.slow
def test_loss_terms_and_gradients_are_those_of_a_plain_softmax(certain):
    (loss, (nll, kl)), gradient = plain_loss(certain, batch()["ids"], 0.3)
    terms, got = terms_and_gradient(certain, batch(), 0.3)
    assert float(terms.loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(terms.nll) == pytest.approx(float(nll), rel=1e-5)
    assert float(terms.kl) == pytest.approx(float(kl), rel=1e-5)
    assert_trees_agree(got, gradient)


def test_tokens_are_the_pieces_and_one_sep_a_sentence(params):
    terms = terms_of(params, batch(), 1.0)
    assert float(terms.sentences) == 9
    assert float(terms.tokens) == sum(map(len, PIECES)) + 9


@pytest.mark.slow
def test_padded_and_length_grouped_batches_have_the_same_loss_and_gradients(certain):
    order = sorted(range(9), key=lambda i: len(PIECES[i]))
    short, long = ([PIECES[i] for i in rows] for rows in (order[:5], order[5:]))
    whole, whole_gradient = terms_and_gradient(certain, batch(), 0.3)
    a, a_gradient = terms_and_gradient(certain, batch(short, length=7), 0.3)
    b, b_gradient = terms_and_gradient(certain, batch(long, length=11), 0.3)
    loss = (5 * float(a.loss) + 4 * float(b.loss)) / 9
    assert loss == pytest.approx(float(whole.loss), rel=1e-5)
    assert float(a.kl) + float(b.kl) == pytest.approx(float(whole.kl), rel=1e-5)
    assert float(a.tokens) + float(b.tokens) == float(whole.tokens)
    mean = jax.tree.map(lambda x, y: (5 * x + 4 * y) / 9, a_gradient, b_gradient)
    assert_trees_agree(mean, whole_gradient)


def test_filler_rows_change_neither_terms_nor_gradients(certain):
    without, expected = terms_and_gradient(certain, batch(), 0.3)
    filled, got = terms_and_gradient(certain, batch(filler=3), 0.3)
    assert_trees_agree(filled, without, tolerance=1e-6)
    assert_trees_agree(got, expected)


def test_what_filler_rows_hold_does_not_matter_at_all(params):
    filled = batch(filler=3)
    other = filled | {"ids": filled["ids"].at[-3:].set(filled["ids"][6:9])}
    a, b = (terms_and_gradient(params, rows, 0.3) for rows in (filled, other))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_batch_of_filler_alone_has_no_loss_and_no_gradient(params):
    filled = batch(filler=3)
    nothing = filled | {"weight": jnp.zeros(12)}
    terms, gradient = terms_and_gradient(params, nothing, 0.3)
    assert [float(term) for term in terms] == [0.0] * 5
    assert all(not np.any(x) for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kl_weight", [0.0, 0.25, 1.0])
def test_the_loss_is_the_mean_a_sentence_of_nll_and_weighted_kl(params, kl_weight):
    terms = terms_of(params, batch(), kl_weight)
    expected = (float(terms.nll) + kl_weight * float(terms.kl)) / 9
    assert float(terms.loss) == pytest.approx(expected, rel=1e-6)


def test_the_noise_of_a_step_is_that_of_its_key(params):
    first, again, other = (
        terms_of(params, batch(), 1.0, key=jax.random.key(seed)) for seed in (1, 1, 2)
    )
    assert float(first.loss) == float(again.loss)
    assert float(first.nll) != float(other.nll)
    assert float(first.kl) == float(other.kl)


def test_free_bits_put_a_floor_under_each_dimensions_mean_and_leave_the_reported_kl(params):
    encode = jax.jit(functools.partial(MODEL.apply, method="encode"))
    mu, logvar = map(np.float64, encode({"params": params}, batch()["ids"]))
    kl_Z = np.mean(0.5 * (np.exp(logvar) + np.square(mu) - 1.0 - logvar), axis=0)
    floor = float(np.sort(kl_Z)[1:3].mean())  # two dimensions below, two above
    free, plain = (terms_of(params, batch(), 0.3, free_bits=bits) for bits in (floor, 0.0))
    expected = float(plain.nll) / 9 + 0.3 * np.maximum(kl_Z, floor).sum()
    assert float(free.loss) == pytest.approx(expected, rel=1e-5)
    assert float(free.kl) == pytest.approx(float(plain.kl), rel=1e-6)
    assert float(plain.kl) == pytest.approx(9 * kl_Z.sum(), rel=1e-5)


KL_BXZ = jnp.asarray([[0.2, 1.0, 0.0], [0.4, 3.0, 0.1], [9.0, 9.0, 9.0]])
SHARE_B = jnp.asarray([0.5, 0.5, 0.0])  # the third row is filler


def kl_term(kl_BxZ=KL_BXZ, **changes):
    return float(elbo.kl_term(kl_BxZ, SHARE_B, elbo.Objective(**changes)))


def kl_gradient(**changes):
    return jax.grad(elbo.kl_term)(KL_BXZ, SHARE_B, elbo.Objective(**changes))


def test_free_bits_by_hand():
    # Means 0.3, 2 and 0.05; with half a nat free the first and the last cost half a nat each.
    assert kl_term(free_bits=0.0) == pytest.approx(2.35)
    assert kl_term(free_bits=0.5) == pytest.approx(3.0)


def test_below_the_free_bits_a_dimension_has_no_gradient():
    gradient = kl_gradient(free_bits=0.5)
    np.testing.assert_array_equal(gradient, [[0, 0.5, 0], [0, 0.5, 0], [0, 0, 0]])


def test_the_hinge_of_a_target_rate_is_on_the_sum():
    assert kl_term(target_rate=2.0) == pytest.approx(2.35)
    assert kl_term(target_rate=3.0) == pytest.approx(3.0)
    assert kl_term(target_rate=3.5, free_bits=0.5) == pytest.approx(3.5)
    np.testing.assert_array_equal(kl_gradient(target_rate=3.0), np.zeros((3, 3)))
    assert kl_term(target_rate=3.0, rate_mode="lagrange") == pytest.approx(2.35)


def remedied(params, objective, **learnt):
    """The terms at a KL weight of 0.3 under an objective."""
    value, (terms, _) = elbo.negative_elbo(
        MODEL,
        {"params": params},
        batch(filler=3),
        KEY,
        objective=objective,
        kl_weight=jnp.float32(0.3),
        mesh=tiny.one_device(),
        **learnt,
    )
    return terms._replace(loss=value)


def posterior_draw(params, ids_BxS):
    """z as a step of `KEY` draws it."""
    _, latent_key = jax.random.split(KEY)
    rngs = {"dropout": KEY, "latent": latent_key}
    return MODEL.apply({"params": params}, ids_BxS, rngs=rngs).z_BxZ, latent_key


@pytest.mark.slow
def test_each_remedy_adds_its_term_to_the_loss_and_leaves_the_reported_terms(params):
    rows, plain = batch(filler=3), remedied(params, elbo.Objective())
    ids_BxS, weight_B = rows["ids"], rows["weight"]
    z_BxZ, latent_key = posterior_draw(params, ids_BxS)
    noise = np.random.default_rng(3)
    bag = BagWeights(
        jnp.asarray(noise.standard_normal((tiny.LATENT, tiny.VOCABULARY)), jnp.float32),
        jnp.zeros(tiny.VOCABULARY),
    )
    mask_BxT = (ids_BxS[:, 1:] != tiny.PAD) & (weight_B > 0)[:, None]
    bow = float(jnp.sum(bag_of_words_nll(z_BxZ, bag, ids_BxS[:, 1:], mask_BxT))) / 9
    prior_BxZ = jax.random.normal(jax.random.fold_in(latent_key, 1), z_BxZ.shape)
    rate = elbo.Objective(target_rate=50.0, rate_mode="lagrange")
    for added, terms in (
        (0.5 * bow, remedied(params, elbo.Objective(bow=0.5), bag=bag)),
        (7 * float(mmd(z_BxZ, prior_BxZ, weight_B)), remedied(params, elbo.Objective(mmd=7.0))),
        (0.4 * (50 - float(plain.kl) / 9), remedied(params, rate, multiplier=jnp.float32(0.4))),
    ):
        assert abs(added) > 0.1
        assert float(terms.loss) - float(plain.loss) == pytest.approx(added, rel=1e-3)
        assert terms._replace(loss=plain.loss) == plain


def test_the_remedies_of_an_objective_are_what_it_sets_besides_the_schedule():
    assert elbo.Objective(annealing="linear", cycles=2, ratio=0.3).remedies() == []
    set_two = elbo.Objective(free_bits=0.5, target_rate=8.0, rate_mode="lagrange")
    assert set_two.remedies() == ["free_bits 0.5", "target_rate 8.0", "rate_mode lagrange"]


def test_a_sentences_nll_is_that_of_a_plain_softmax_and_zero_for_filler(params):
    rows = batch(filler=3)
    z_BxZ = jnp.asarray(np.random.default_rng(0).standard_normal((12, tiny.LATENT)), jnp.float32)
    mask_BxT = (rows["ids"][:, 1:] != tiny.PAD) & (rows["weight"] > 0)[:, None]
    got = jax.jit(functools.partial(elbo.sentence_nll, MODEL, mesh=tiny.one_device()))(
        {"params": params}, rows["ids"], z_BxZ, mask_BxT
    )
    expected = jax.jit(plain_nll)(params, rows["ids"], z_BxZ)
    np.testing.assert_allclose(got[:9], expected[:9], rtol=1e-5)
    np.testing.assert_array_equal(got[9:], np.zeros(3))


@pytest.mark.parametrize("remedy", [{}, {"free_bits": 0.5}, {"target_rate": 9.0}, {"mmd": 2.0}])
def test_the_loss_of_a_language_model_is_its_nll(remedy):
    model = tiny.language_model()
    terms = terms_of(tiny.params_of(model), batch(), 1.0, model=model, **remedy)
    assert float(terms.kl) == 0.0
    assert float(terms.loss) == pytest.approx(float(terms.nll) / 9, rel=1e-6)


# A process of its own: four devices.
@pytest.mark.slow
def test_over_four_devices_loss_and_gradients_are_those_of_one_and_free_bits_those_of_all():
    tiny.run_on_four_devices("""
import jax, jax.numpy as jnp, numpy as np
from tests.helpers import tiny
from vaetx_jax.losses import elbo
from vaetx_jax.runtime.mesh import data_mesh, put_batch, put_replicated, replicated, split_over_data

model = tiny.vae(layers=1, dropout=0.2)
params = tiny.params_of(model)
# Sentences of other lengths on each device; the last device has filler alone.
batch = tiny.batch_of(tiny.sentences(6, longest=6), length=9, filler=2)
batch = {name: batch[name] for name in ("ids", "weight")}


def run(devices, free_bits):
    mesh = data_mesh(jax.devices()[:devices])

    def loss(params, batch, key):
        return elbo.negative_elbo(
            model,
            {"params": params},
            batch,
            key,
            objective=elbo.Objective(free_bits=free_bits),
            kl_weight=jnp.float32(0.5),
            mesh=mesh,
        )

    whole = replicated(mesh)
    compiled = jax.jit(
        jax.value_and_grad(loss, has_aux=True), in_shardings=(whole, split_over_data(mesh), whole)
    )
    arguments = (put_replicated(params, mesh), put_batch(batch, mesh), jax.random.key(3))
    first, again = (compiled(*arguments) for _ in range(2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    return first


one, four = (run(n, 0.9) for n in (1, 4))
size = max(np.abs(x).max() for x in jax.tree.leaves(one[1]))
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6 * size)
""")
