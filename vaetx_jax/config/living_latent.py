"""The settings that keep a latent alive on real text, for `fit`, `configs/text.py` and the like.

First the decoder is trained as a language model. Then it learns to use a latent whose rate is fixed
by a channel and whose encoder is frozen: latent semantic analysis of the training split, which
generalises where an encoder that is trained on some thousand sentences memorises them. The latent
enters at every input and, by a regression on the tokens, at the output.
"""

from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.models.presets import PRESETS, choices_of, has_latent

RATE = 6.5  # nats per sentence
LANGUAGE_MODEL_EPOCHS, VAE_EPOCHS = 12, 12
LANGUAGE_MODEL_RATE, VAE_RATE = 2e-3, 1.5e-3  # learning rates
DROPOUT = 0.3

_LATENT: dict[str, Any] = {
    "encoder": "bag",
    "encoder_start": "lsa",
    "freeze": "encoder",
    "channel_rate": RATE,
    "latent_attention": False,  # z enters at the inputs and at the output
    "latent_input": True,
    "latent_output": True,
    "latent_output_start": "regression",
}
# A published encoder generalises, too, and is not replaced.
_PUBLISHED = {"encoder": "bert", "encoder_start": "whiten"}


def keep_latent_alive(config: ConfigDict) -> None:
    """Sets the recipe in a config; a language model gets the same decoder and as many epochs.

    Args:
      config: of any model; the settings that a model does not have are left out.
    """
    model, train = config.model, config.train
    if model.name in PRESETS["modern"]:
        model.preset = "modern"
    model.dropout, model.output_start = DROPOUT, "unigrams"
    config.tokenizer.vocab_size = 0  # chosen from the number of words
    if model.name == "vae_bert":
        # The encoder reads its own tokens. A decoder over tens of thousands that the corpus mostly
        # does not use would be slower and learn less.
        config.tokenizer.kind = "bpe"
    config.data.batch_size, config.data.groups = 16, 4
    config.objective.annealing, config.objective.cycles = "none", 1
    train.epochs = LANGUAGE_MODEL_EPOCHS + VAE_EPOCHS
    train.decay, train.clip_norm = "matrices", 5.0
    train.learning_rate = LANGUAGE_MODEL_RATE
    if has_latent(model.name):
        train.learning_rate, train.warm_up_learning_rate = VAE_RATE, LANGUAGE_MODEL_RATE
        train.warm_up = "language_model"
        train.warm_up_share = round(LANGUAGE_MODEL_EPOCHS / train.epochs, 3)
        latent = _LATENT | (_PUBLISHED if model.name == "vae_bert" else {})
        fields = choices_of(model.preset, model.name, latent["encoder"])
        model.update({key: value for key, value in latent.items() if key in fields})
    config.probe.latent, config.probe.fit = "mean", "closed"
