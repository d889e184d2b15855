"""`vaetx_jax.fit(sentences)`: a trained model without a config."""

import contextlib
import csv
import hashlib
import io
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.config import keys, validation
from vaetx_jax.config.own_text import own_text_config
from vaetx_jax.config.pretrained_text import pretrained_text_config
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.decoded_lines import MAX_CHARACTERS
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.inference.batching import check_sentences
from vaetx_jax.inference.text_model import TextModel, load
from vaetx_jax.run import workdir as workdir_lib
from vaetx_jax.run.run import create_run
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.settings import closest
from vaetx_jax.training.trainer import StoppedError, Trainer

HELD_OUT = 10  # one in this many different sentences validates, another tests


def fit(
    sentences: Sequence[str],
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

    Its defaults keep the latent alive (free bits, mean pooling, the latent at every input, word
    dropout). With a published encoder they are those of `config.pretrained_text`. A tenth of the
    different sentences is the validation split and a tenth the test split, chosen by a hash.

    Args:
      sentences: at least three different ones; blank ones are left out.
      labels: a class for each, used by the probe and the figures, not by the training.
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
    sentences, names = _checked(sentences, labels)
    default = _default(model, encoder)
    chosen = _settings(default, {**(config or {}), **_dotted(default, settings)})
    temporary = workdir is None
    folder = pathlib.Path(workdir or tempfile.mkdtemp(prefix="vaetx-fit-")).expanduser().resolve()
    try:
        with contextlib.ExitStack() as stack:
            if not verbose:
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            stack.enter_context(workdir_lib.claim(folder))
            use_compilation_cache(cache_dir(chosen))  # the user's, so that it outlives this run
            _train(chosen, folder, sentences, names)
        fitted = load(folder)
    except BaseException:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if temporary:
        weakref.finalize(fitted, shutil.rmtree, folder, ignore_errors=True)
    return fitted


def _train(
    config: ConfigDict, folder: pathlib.Path, sentences: Sequence[str], labels: list[str] | None
) -> None:
    _write_corpus(folder / "corpus", sentences, labels)
    with config.unlocked():
        config.data.cache_dir = str(folder / "cache")
        for split in SPLITS:
            config.data[split] = str(folder / "corpus" / f"{split}.csv")
    validation.validate(config)
    workdir_lib.keep_config(folder, config)
    trainer = Trainer(create_run(config, folder))
    state, _ = trainer.start_state()
    if int(state.step) >= trainer.settings.total_steps:
        return
    try:
        trainer.run(state)
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from None


def _checked(sentences: Any, labels: Any) -> tuple[Sequence[str], list[str] | None]:
    sentences = check_sentences(sentences)
    for number, text in enumerate(sentences):
        if "\0" in text or len(text) > MAX_CHARACTERS:
            what = "a NUL character" if "\0" in text else f"more than {MAX_CHARACTERS:,} characters"
            raise UserError(
                f"sentence {number} (counted from 0) has {what}; leave it out or cut it"
            )
    different = {text.strip() for text in sentences} - {""}
    if len(different) < 3:
        raise UserError(
            f"{len(different)} different sentences: at least 3 are needed, to train on, to "
            "validate and to test, and some thousands for a model that is worth having"
        )
    if labels is None:
        return sentences, None
    names = [str(label).strip() for label in labels]
    if len(names) != len(sentences):
        raise UserError(f"{len(names):,} labels for {len(sentences):,} sentences; give one each")
    if "" in names:
        raise UserError(f"label {names.index('')} (counted from 0) is blank; give every one a name")
    return sentences, names


def _write_corpus(folder: pathlib.Path, sentences: Sequence[str], labels: list[str] | None) -> None:
    """Writes a CSV file per split; a sentence's split depends on its hash alone."""
    texts = [" ".join(text.split("\n")).strip() for text in sentences]
    different = sorted({text for text in texts if text}, key=_hash)
    held = max(1, len(different) // HELD_OUT)
    split_of = dict.fromkeys(different, "train")
    split_of |= dict.fromkeys(different[:held], "valid")
    split_of |= dict.fromkeys(different[held : 2 * held], "test")
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        writers = {}
        for split in SPLITS:
            path = folder / f"{split}.csv"
            file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
            writers[split] = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writers[split].writerow(["text"] if labels is None else ["text", "label"])
        for number, text in enumerate(texts):
            if text:
                row = [text] if labels is None else [text, labels[number]]
                writers[split_of[text]].writerow(row)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


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
    own = {*workdir_lib.PATH_KEYS, "data.corpus", "model.name"} - {"tokenizer.vocab_dir"}
    return [key for key in flat if key not in own]


def _settings(config: ConfigDict, chosen: Mapping[str, Any]) -> ConfigDict:
    known = _keys(config)
    for key, value in chosen.items():
        if key not in known:
            raise ConfigError(f"there is no setting {key!r}{closest(key, known)}")
        try:
            keys.set_value(config, key, value)
        except (TypeError, ValueError):
            default = keys.value_of(config, key)
            wanted = "" if default is None else f", as {default!r} is"
            raise ConfigError(
                f"config.{key} = {value!r}: of the wrong type ({type(value).__name__}){wanted}"
            ) from None
    validation.validate(config)
    return config
