"""Baseline features without a neural network: tf-idf of 1- and 2-grams, and LSA."""

from collections.abc import Mapping, Sequence
from typing import Any

# Words and, unlike scikit-learn's default, single letters and punctuation: 'i' and '!' matter.
TOKEN = r"\w+|[^\w\s]"


def text_features(
    texts: Mapping[str, Sequence[str]], *, dimensions: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Features of the sentences of every split, fitted to those of `train` alone.

    Args:
      texts: split -> sentences.
      dimensions: of LSA; fewer where there are fewer n-grams.
      seed: of LSA's randomised singular value decomposition.

    Returns:
      `bag_of_ngrams`: split -> sparse tf-idf of lower-cased 1- and 2-grams [N, F].
      `lsa`: split -> its truncated SVD, dense [N, D] (Deerwester et al., 1990).
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=TOKEN, sublinear_tf=True)
    vectorizer.fit(texts["train"])
    bag = {split: vectorizer.transform(sentences) for split, sentences in texts.items()}
    grams = bag["train"].shape[1]
    svd = TruncatedSVD(min(dimensions, grams), random_state=seed).fit(bag["train"])
    return {"bag_of_ngrams": bag, "lsa": {split: svd.transform(x) for split, x in bag.items()}}
