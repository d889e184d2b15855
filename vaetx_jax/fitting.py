"""`vaetx_jax.fit(sentences)`: a trained model without a config."""

import contextlib
import dataclasses
import io
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vaetx_jax.config import keys, validation
from vaetx_jax.config.own_text import own_text_config
from vaetx_jax.config.pretrained_text import pretrained_text_config
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.fields import LABEL, Fields
from vaetx_jax.errors import ConfigError
from vaetx_jax.inference.columns import Corpus, columns_of
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.run import create_run, prepare
from vaetx_jax.runtime.atomic import atomic_folder
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.settings import closest
from vaetx_jax.training.trainer import StoppedError, Trainer


def fit(
    sentences: Any,
    labels: Sequence[Any] | None = None,
    *,
    model: str | None = None,
    encoder: str | pathlib.Path | None = None,
    workdir: str | pathlib.Path | None = None,
    config: Mapping[str, Any] | None = None,
    verbose: bool = True,
    **settings: Any,
) -> TextModel:
    """Trains a model on sentences and returns it ready to use.

    Its defaults keep the latent alive (`config.living_latent`): a language model first, then a
    latent of a fixed rate; with a published encoder they are those of `config.pretrained_text`. A
    tenth of the different sentences is the validation split and a tenth the test split, chosen by a
    hash.

    Args:
      sentences: at least three different ones; blank ones are left out. Or a table (a DataFrame, a
        dict of columns, a `datasets.Dataset`), whose columns `data_text_column` and
        `data_label_column` name: `text` and, if there is one, `label` by default. Or a file with
        such columns (a `pathlib.Path`), or a data set of the hub ("hf://NAME").
      labels: a class for each, used by the probe and the figures, not by the training; None, NaN
        or blank: it has none.
      model: `vae_transformer` (the default), `vae_lstm`, `gru_lm` and so on; with an encoder,
        `vae_bert`.
      encoder: a published encoder that has read more than these sentences: the folder of a BERT
        (config.json, model.safetensors, vocab.txt) or its name on the Hugging Face hub.
      workdir: the folder of the run; the same call resumes it. None: a temporary
        folder, which is deleted with the model.
      config: settings by their dotted keys, {"model.latent_dim": 16}.
      verbose: progress on standard error.
      settings: the same with underscores for dots: `model_latent_dim=16, train_epochs=5, seed=1`.

    Raises:
      ConfigError: an unknown setting, or a value out of range.
      UserError: sentences or labels that cannot be used; the message says which.
      KeyboardInterrupt: it was stopped; with a `workdir`, the same call resumes it.
    """
    default = _default(model, encoder)
    chosen = _settings(default, {**_mapping(config), **_dotted(default, settings)})
    corpus = columns_of(sentences, labels, Fields.of(*_take_columns(chosen)))
    keys.check_local("workdir", str(workdir or ""))
    temporary = workdir is None
    folder = pathlib.Path(workdir or tempfile.mkdtemp(prefix="vaetx-fit-")).expanduser().resolve()
    try:
        with contextlib.ExitStack() as stack:
            if not verbose:
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            stack.enter_context(workdir_lib.claim(folder))
            use_compilation_cache(cache_dir(chosen))  # the user's, so that it outlives this run
            _train(chosen, folder, corpus)
        fitted = dataclasses.replace(load(folder), temporary=temporary)
    except BaseException:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if temporary:
        # By its run, which models made of this one (`fit_prior`) share.
        weakref.finalize(fitted.run, shutil.rmtree, folder, ignore_errors=True)
    return fitted


def _train(config: ConfigDict, folder: pathlib.Path, corpus: Corpus) -> None:
    with config.unlocked():
        config.data.cache_dir = str(folder / "cache")
    with atomic_folder(folder / "corpus", replace=True) as fresh:
        corpus.write(fresh)
        _use_files(config, fresh, corpus)
        prepare(config, folder)  # all checks, before the folder's corpus is replaced
    _use_files(config, folder / "corpus", corpus)
    workdir_lib.keep_config(folder, config)
    trainer = Trainer(create_run(config, folder))
    state, _ = trainer.start_state()
    if trainer.ended(int(state.step)):
        return
    try:
        trainer.run(state)
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from None


def _use_files(config: ConfigDict, folder: pathlib.Path, corpus: Corpus) -> None:
    with config.unlocked():
        for split in SPLITS:
            config.data[split] = str(folder / f"{split}.csv")
        own = tuple(corpus.labels) not in ((), (LABEL,))
        config.data.label_column = ",".join(corpus.labels) if own else ""
    validation.validate(config)


def _take_columns(config: ConfigDict) -> tuple[str, str]:
    """The columns that the settings name, which are those of the caller's table."""
    chosen = config.data.text_column, config.data.label_column
    config.data.text_column = config.data.label_column = ""
    return chosen


def _default(model: str | None, encoder: str | pathlib.Path | None) -> ConfigDict:
    """The settings before the caller's.

    Raises:
      ConfigError: no such model, or one that does not go with the encoder.
    """
    if encoder is not None and model not in (None, "vae_bert"):
        raise ConfigError(
            f"model {model!r} with an encoder: only vae_bert has a published one; leave `model` out"
        )
    if encoder is not None or model == "vae_bert":
        config = pretrained_text_config(encoder or "")
    else:
        config = own_text_config(model or "vae_transformer")
    config.data.train = "sentences.csv"  # until the file is written
    return config


def _mapping(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The caller's `config`, which is no config file.

    Raises:
      ConfigError: it is something else than a dict.
    """
    if config is not None and not isinstance(config, Mapping):
        raise ConfigError(
            f"config = {config!r:.60}: give a dict of settings, {{'model.latent_dim': 16}}; "
            "config files are for the commands"
        )
    return config or {}


def _dotted(default: ConfigDict, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted keys."""
    known = {key.replace(".", "_"): key for key in _keys(default)}
    for name in settings:
        if name not in known:
            raise ConfigError(f"there is no setting {name}{closest(name, known)}")
    return {known[name]: value for name, value in settings.items()}


def _keys(default: ConfigDict) -> list[str]:
    """The settings that may be set; files and folders are up to `fit`."""
    flat = keys.flatten(default.to_dict())
    own = {*workdir_lib.PATH_KEYS, "data.corpus", "model.name"} - {
        "tokenizer.vocab_dir",
        "model.weights",
    }
    return [key for key in flat if key not in own]


def _settings(config: ConfigDict, chosen: Mapping[str, Any]) -> ConfigDict:
    known = _keys(config)
    for key, value in chosen.items():
        if key not in known:
            raise ConfigError(f"there is no setting {key!r}{closest(key, known)}")
        try:
            # A scalar of numpy is what Python has for it.
            keys.set_value(config, key, value.item() if isinstance(value, np.generic) else value)
        except (TypeError, ValueError):
            wanted = keys.type_of(config, key).__name__
            raise ConfigError(
                f"config.{key} = {value!r}: of the wrong type, {type(value).__name__} instead of "
                f"{wanted}"
            ) from None
    keys.expand_paths(config)
    validation.validate(config)
    return config
