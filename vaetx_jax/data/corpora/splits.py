"""The three splits of a corpus, and the assignment of a sentence to one by its hash."""

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "valid", "test")


def split_of(text: str, valid_share: float, test_share: float) -> str:
    """Assigns a text to `train`, `valid` or `test` by its sha256, read as a number in [0, 1).

    Train takes [0, 1 - valid_share - test_share), valid the next `valid_share`, test the rest.
    """
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    number = int.from_bytes(digest[:8], "big") / 2**64
    if number < 1 - valid_share - test_share:
        return "train"
    return "valid" if number < 1 - test_share else "test"


def rank_splits(texts: Iterable[str], valid_share: float, test_share: float) -> dict[str, str]:
    """Assigns different texts by the rank of their sha256, at least one to each split with a share.

    For so few texts that `split_of` may leave a split empty. Train has a share, too.
    """
    ranked = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8")).digest())
    split = dict.fromkeys(ranked, "train")
    held_out = [("test", test_share), ("valid", valid_share)]
    held_out = [(name, share) for name, share in held_out if share > 0]
    for later, (name, share) in zip(range(len(held_out), 0, -1), held_out, strict=True):
        # `later` splits, train the last of them, are still to get one.
        count = min(max(1, round(share * len(split))), len(ranked) - later)
        split |= {ranked.pop(): name for _ in range(count)}
    return split
