"""A text VAE as a step of a scikit-learn pipeline: sentences in, posterior means out."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vaetx_jax.fitting import fit
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel


class SentenceVectors(TransformerMixin, BaseEstimator):
    """Encodes sentences; trains on them first unless it is given a model.

        make_pipeline(SentenceVectors("runs/mine"), LogisticRegression()).fit(sentences, labels)

    A pickle of it (`joblib.dump`, `n_jobs`) holds the path of the model's folder, its step and its
    prior, and no parameters, which are read from the folder again; a model in a temporary folder
    is refused.

    Args:
      model: a folder of a trained run or made by `export`, or a `TextModel`; None: `fit` trains one
        on the sentences it is given.
      deviation: appends the posterior's standard deviations to its means: 2 Z columns.
      settings: of `vaetx_jax.fit`, where it trains: {"model_latent_dim": 16, "verbose": False}.

    Attributes:
      model_: the `TextModel` that encodes, after `fit`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | TextModel | None = None,
        *,
        deviation: bool = False,
        settings: Mapping[str, Any] | None = None,
    ):
        self.model = model
        self.deviation = deviation
        self.settings = settings

    def fit(self, X: Sequence[str], y: Any = None) -> "SentenceVectors":
        """Trains on the sentences, or loads the model; labels are ignored."""
        if self.model is None:
            self.model_ = fit(X, **dict(self.settings or {}))
        elif isinstance(self.model, TextModel):
            self.model_ = self.model
        else:
            self.model_ = load(os.fspath(self.model))
        self.model_.check_has_latent("SentenceVectors")
        return self

    def transform(self, X: Sequence[str]) -> np.ndarray:
        """float32 [N, Z], or [N, 2 Z] with deviations."""
        check_is_fitted(self, "model_")
        mean, std = self.model_.encode(X)
        return np.concatenate([mean, std], axis=1) if self.deviation else mean

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """z0, z1, ... and, with deviations, std0, std1, ..."""
        check_is_fitted(self, "model_")
        kinds = ("z", "std") if self.deviation else ("z",)
        names = [f"{kind}{i}" for kind in kinds for i in range(self.model_.latent_dim)]
        return np.asarray(names, dtype=object)
