"""The three splits of a corpus, and the assignment of a sentence to one by its hash."""

import hashlib

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
