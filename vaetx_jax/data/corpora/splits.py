"""The three splits of a corpus, and the one that a sentence falls into by its hash."""

import hashlib

SPLITS = ("train", "valid", "test")


def split_of(text: str, valid_share: float, test_share: float) -> str:
    """`train`, `valid` or `test`: where the sha256 of `text` falls in [0, 1).

    Train takes [0, 1 - valid_share - test_share), valid what follows, test the rest.
    """
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < 1 - valid_share - test_share:
        return "train"
    return "valid" if place < 1 - test_share else "test"
