"""Tweets to US airlines, negative or positive."""

import collections
import csv
import html
import pathlib
import re
from collections.abc import Iterable, Mapping

from vaetx_jax.data.corpora.source import Example, Source, SourceFile
from vaetx_jax.data.corpora.splits import SPLITS, split_of

_CLASSES = ("negative", "positive")
_SHARE = 0.1  # of validation, and of test


def clean(tweet: str) -> str:
    """HTML entities decoded, line breaks as single spaces, no space at either end."""
    return re.sub(r"\s*[\r\n]+\s*", " ", html.unescape(tweet)).strip()


def _read(
    paths: Mapping[str, pathlib.Path], dropped: collections.Counter[str]
) -> dict[str, Iterable[Example]]:
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    with paths["air/Tweets.csv"].open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            sentiment = row["airline_sentiment"]
            if sentiment not in _CLASSES:
                dropped["neutral tweets"] += 1
                continue
            text = clean(row["text"])
            label = _CLASSES.index(sentiment)
            splits[split_of(text, _SHARE, _SHARE)].append({"text": text, "label": label})
    return dict(splits)


SOURCE = Source(
    name="air",
    version="1.0.0",
    release_notes={"1.0.0": "First version."},
    description=(
        "Twitter US Airline Sentiment: tweets of February 2015 to six US airlines, labelled by "
        "contributors. The 3,099 neutral tweets are dropped, HTML entities decoded, line breaks "
        "inside a tweet replaced by single spaces. There is no official split; ours is 80/10/10 "
        "by a threshold on the sha256 of the text, so that a repeated text stays on one side. "
        "About four fifths of the tweets are negative."
    ),
    licence="Creative Commons Attribution-NonCommercial-ShareAlike 4.0 (CC BY-NC-SA 4.0)",
    citation="""@misc{crowdflower2015airline,
  title = {Twitter US Airline Sentiment},
  author = {{Crowdflower}},
  year = {2015},
  url = {https://www.kaggle.com/datasets/crowdflower/twitter-airline-sentiment}
}""",
    homepage="https://www.kaggle.com/datasets/crowdflower/twitter-airline-sentiment",
    files=(
        SourceFile(
            path="air/Tweets.csv",
            lines=14_873,
            sha256="31aa9f9f90d9da372d1522b463cd0d43128d274f553dcf10b15fb17cdd71df10",
            url=(
                "https://raw.githubusercontent.com/eidehua/Real-Time-SciVi/"
                "d172fa9b83b3b78ed37b3c39bfc21f9465874ff1/twitter-airline-sentiment/Tweets.csv"
            ),
        ),
    ),
    rows={"train": 9_266, "valid": 1_145, "test": 1_130},
    read=_read,
    classes=_CLASSES,
)
