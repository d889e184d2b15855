"""A remedy is two edits in `losses/elbo.py`, an annealing one record in `losses/annealing.py`."""

import json
import pathlib

import pytest

from tests.helpers.package_copy import copy_package, edit_line, run_python

FIELD = "    free_bits: float = setting(0.0, least=0)"
KL = "kl_term(kl_BxZ, share_B, objective)"
LOSS = f"    loss = reconstruction + kl_weight * {KL}"
RECORD = '        Annealing("none", _constant, has_cycles=False, line=":", marker="s"),'

NEW_FIELD = f"""{FIELD}
    rate_floor: float = setting(0.0, least=0)"""
NEW_LOSS = f"""    kl = {KL}
    loss = reconstruction + kl_weight * jnp.maximum(kl, objective.rate_floor)"""
NEW_RECORD = f"""{RECORD}
        Annealing(
            "jump",
            lambda step, total, cycles, ratio, zero: jnp.float32(
                phase(step, total, cycles) >= ratio
            ),
            has_cycles=True,
            line="-.",
            marker="D",
        ),"""

PROGRAM = """
import pathlib
from vaetx_jax.config import default_config, validate
from vaetx_jax.errors import ConfigError
from vaetx_jax.run.run import create_run
from vaetx_jax.training.trainer import Trainer

config = default_config("vae_gru")
config.data.sentences, config.data.held_out, config.data.batch_size = 60, 20, 8
config.model.dim, config.model.latent_dim, config.tokenizer.vocab_size = 8, 4, 100
config.train.steps, config.train.log_every, config.objective.cycles = 4, 1, 2
config.objective.annealing, config.objective.rate_floor = "jump", -1.0
try:
    validate(config)
except ConfigError as error:
    print(error)
config.objective.rate_floor = 50.0
validate(config)
folder = pathlib.Path("run")
folder.mkdir()
trainer = Trainer(create_run(config, folder))
trainer.run(trainer.start_state()[0])
"""


@pytest.mark.slow
def test_a_remedy_and_an_annealing_are_an_edit_of_one_file_each(tmp_path: pathlib.Path) -> None:
    losses = copy_package(tmp_path) / "losses"
    edit_line(losses / "elbo.py", FIELD, NEW_FIELD)
    edit_line(losses / "elbo.py", LOSS, NEW_LOSS)
    edit_line(losses / "annealing.py", RECORD, NEW_RECORD)
    printed = run_python(tmp_path, "-c", PROGRAM)
    assert "config.objective.rate_floor = -1.0: must be at least 0" in printed
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "train/loss" in row]
    assert [row["train/kl_weight"] for row in rows] == [0.0, 1.0, 0.0, 1.0]
    floors = [row["train/loss"] - row["train/nll"] for row in rows]
    assert floors == pytest.approx([0.0, 50.0, 0.0, 50.0], abs=1e-3)
