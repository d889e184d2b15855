"""What orbax and tensorstore say: the reason of an error in one line, and what can be left out."""

import logging

GONE = "its folder is gone"


def reason(error: Exception) -> str:
    """The reason of an error in one line: tensorstore's are long, and of many kinds."""
    text = str(error)
    for words, meaning in (
        ("No space left", "the disk is full"),
        ("Disk quota", "your quota is used up"),
        ("Read-only file system", "the disk is read-only"),
        ("Permission denied", "permission denied"),
        ("No such file", GONE),
        ("Stale file handle", GONE),
    ):
        if words in text:
            return meaning
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


_IRRELEVANT = (
    "Sharding info not provided",
    "Given directory is read only",
    "run() raised an exception",
    "exception was never retrieved",
)


def is_relevant(record: logging.LogRecord) -> bool:
    """Whether a log record of theirs says what is not said elsewhere."""
    message = record.getMessage()
    return not any(words in message for words in _IRRELEVANT)
