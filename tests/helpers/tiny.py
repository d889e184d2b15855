"""Models and sentences small enough for a test, shared by several test files."""

import dataclasses
import functools
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.paths import REPOSITORY
from vaetx_jax.config.defaults import OptimizerSettings, default_config
from vaetx_jax.config.validation import model_settings
from vaetx_jax.losses.elbo import Objective
from vaetx_jax.models import text_vae
from vaetx_jax.models.build import build_model
from vaetx_jax.models.language_model import LanguageModel
from vaetx_jax.models.presets import ModelSettings
from vaetx_jax.models.transformer import LayerShape, TransformerDecoder
from vaetx_jax.runtime.mesh import data_mesh
from vaetx_jax.training.step import StepSettings

PAD, UNK, CLS, SEP = 0, 1, 2, 3
VOCABULARY = 23
LATENT = 4
DIM = 8


def settings(**changes: Any) -> ModelSettings:
    """The `paper` preset's choices, small."""
    config = default_config("vae_transformer")
    small = {
        "dim": DIM,
        "latent_dim": LATENT,
        "layers": 2,
        "heads": 2,
        "ff_dim": 12,
        "dropout": 0.0,
    }
    config.model.update(small | changes)
    return model_settings(config)


def vae(*, vocab_size: int = VOCABULARY, **changes: Any) -> LanguageModel:
    return build_model(settings(**changes), vocab_size=vocab_size, pad_id=PAD)


def language_model(vocab_size: int = VOCABULARY) -> LanguageModel:
    shape = LayerShape(dim=DIM, heads=2, ff_dim=12, dropout=0.0)
    decoder = TransformerDecoder(vocab_size, positions=32, layers=1, shape=shape, latent_dim=0)
    return LanguageModel(decoder=decoder, dim=DIM, vocab_size=vocab_size, pad_id=PAD)


def params_of(model: LanguageModel, seed: int = 0) -> Any:
    """Parameters far from zero: a bias that is left out or a slot that is ignored shows."""
    shapes = jax.eval_shape(functools.partial(text_vae.init, model), jax.random.key(0))["params"]
    noise = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.asarray(0.5 * noise.standard_normal(x.shape), x.dtype), shapes
    )


def variables_of(model: LanguageModel, seed: int = 0) -> Any:
    """`params_of` with the model's other collections as they start."""
    variables = text_vae.init(model, jax.random.key(0))
    return {**variables, "params": params_of(model, seed)}


def sentences(count: int, *, longest: int = 9, seed: int = 0) -> list[list[int]]:
    """Pieces of `count` sentences of 1 to `longest` pieces, the first of all lengths there are."""
    noise = np.random.default_rng(seed)
    lengths = [1 + i % longest for i in range(count)]
    return [noise.integers(SEP + 1, VOCABULARY, n).tolist() for n in lengths]


def rows_of(pieces: list[list[int]], length: int) -> np.ndarray:
    """[CLS] x1 .. xn [SEP] [PAD] ..: int32 [B, length]."""
    ids_BxS = np.full((len(pieces), length), PAD, np.int32)
    for row, sentence in zip(ids_BxS, pieces, strict=True):
        line = [CLS, *sentence, SEP]
        row[: len(line)] = line
    return ids_BxS


def batch_of(pieces: list[list[int]], *, length: int = 0, filler: int = 0, first: int = 0) -> dict:
    """A batch as the project's batches are; `filler` rows of weight 0 behind the sentences."""
    length = length or max(map(len, pieces)) + 2
    count = len(pieces)
    return {
        "ids": rows_of([*pieces, *([[]] * filler)], length),
        "weight": np.asarray([1.0] * count + [0.0] * filler, np.float32),
        "index": np.asarray([*range(first, first + count), *([-1] * filler)], np.int64),
    }


def on_device(batch: dict) -> dict[str, jax.Array]:
    return {name: jnp.asarray(batch[name]) for name in ("ids", "weight")}


def step_settings(**changes: Any) -> StepSettings:
    """Settings of a short run; `changes` names fields of any of the three dataclasses."""
    settings = StepSettings(
        objective=Objective(cycles=2),
        optimizer=OptimizerSettings(learning_rate=1e-2, final_learning_rate=1e-5, decay="all"),
        total_steps=20,
        window=3,
        skip_nonfinite=False,
    )
    return changed(settings, **changes)


def changed(settings: StepSettings, **changes: Any) -> StepSettings:
    """The settings with other values of some fields, those of its parts among them."""
    for name, value in changes.items():
        for part in ("objective", "optimizer"):
            if hasattr(getattr(settings, part), name):
                value = dataclasses.replace(getattr(settings, part), **{name: value})
                name = part
                break
        settings = dataclasses.replace(settings, **{name: value})
    return settings


def one_device() -> Any:
    return data_mesh(jax.devices()[:1])


def run_on_four_devices(code: str) -> str:
    """What a script prints in a process of its own that sees four CPU devices.

    The number of host devices is fixed when JAX starts, so this process cannot have them.
    """
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "PYTHONPATH": str(REPOSITORY),
    }
    check = "import jax; assert jax.device_count() == 4\n"
    command = [sys.executable, "-W", "error", "-c", check + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
