"""What the host changes in a state at the end of a warm-up."""

import jax
import jax.numpy as jnp
import numpy as np

from vaetx_jax.inference.loading import load
from vaetx_jax.run.run import create_run
from vaetx_jax.training.host_updates import HostUpdates
from vaetx_jax.training.trainer import Trainer, root_keys

HALF = 20  # steps of the warm-up


def test_an_autoencoders_decoder_goes_back_to_the_one_that_the_run_starts_from(
    config, trained, tmp_path
):
    config = config.copy_and_resolve_references()
    config.seed, config.train.warm_up = config.seed + 1, "autoencoder"
    config.train.init_from, config.train.init_parts = str(trained), "decoder"
    run = create_run(config, tmp_path)
    trainer = Trainer(run)
    start, _ = trainer.start_state()
    moved = start.with_params(jax.tree.map(lambda leaf: leaf + 1, start.params))
    updates = HostUpdates(run, trainer.settings, root_keys(config)[0])
    new = updates.apply(HALF, moved._replace(step=jnp.int32(HALF))).params
    theirs = load(trained).params
    for part, expected in (("decoder", theirs), ("output_layer", theirs), ("mu", moved.params)):
        jax.tree.map(np.testing.assert_array_equal, new[part], expected[part])
