"""The Hugging Face hub: a folder of it on this machine, and its errors in one line."""

import pathlib
import socket
from collections.abc import Iterator, Sequence


class HubError(Exception):
    """A request to the hub failed; the text is one line that says why."""


def download(
    name: str, *, patterns: Sequence[str] | None = None, revision: str | None = None
) -> pathlib.Path:
    """The folder of a model of the hub on this machine, downloaded where it is not there yet.

    Args:
      name: USER/NAME.
      patterns: of the files that are wanted; None: all of them.
      revision: a branch, a tag or a commit; None: the newest.

    Raises:
      HubError: there is no such model or revision, or no network.
    """
    import huggingface_hub  # here, because it is slow to import

    chosen = None if patterns is None else list(patterns)
    try:
        found = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=chosen)
    except Exception as error:  # of several HTTP libraries
        raise HubError(reason(error)) from error
    return pathlib.Path(found)


def reason(error: Exception) -> str:
    """The cause of an error and its remedy, in one line.

    The hub's client says it in several lines, the first of which may be a number, and may wrap an
    error in another that does not say it at all.
    """
    from huggingface_hub import errors

    for each in _causes(error):
        match each:
            case errors.GatedRepoError():
                return "its owner grants access: ask on its page, then log in by `hf auth login`"
            case errors.RepositoryNotFoundError():
                return "there is none, or it is private and needs `hf auth login`"
            case errors.RevisionNotFoundError():
                return "it has no such revision"
            case errors.HfHubHTTPError():
                return _refusal(each)
            case errors.OfflineModeIsEnabled():
                return "the network is turned off by HF_HUB_OFFLINE, and it is not on this machine"
            case ConnectionError() | TimeoutError() | socket.gaierror():
                return f"the hub cannot be reached: {_in_one_line(each)}"
    return _in_one_line(error)


def _refusal(error: Exception) -> str:
    """An answer of the hub that is none of the above."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    said = _in_one_line(getattr(error, "server_message", None) or error)
    if status == 401:
        return f"nobody is logged in, or the token is refused: `hf auth login` ({said})"
    if status == 403:
        return f"the token does not allow it: {said}"
    return f"the hub answered {status}: {said}" if status else said


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
