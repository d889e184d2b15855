"""A lease: at most one process holds a name in a shared store, and a dead one loses it.

The lease NAME is the object `NAME-NUMBER.json` with the highest number. Taking it is creating the
next number, which a store does for one of several that try; so there is no moment at which two hold
it, whatever they have read before. The holder rewrites its own object every few seconds. It counts
as dead when it has not done so for `LIFETIME` seconds by the watch of who looks at it, so that no
two clocks are compared; the wall clock decides only about what is ten minutes old.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from vaetx_jax.errors import UserError
from vaetx_jax.runtime.console import notify
from vaetx_jax.runtime.store import Store, StoreError

LIFETIME = 60.0  # seconds without a sign of life
RENEW_EVERY = 15.0  # seconds
_LONG_AGO = 600.0  # seconds by the wall clock
_TOKENS: set[str] = set()  # of all holds of this process
_RELEASE_WITHIN = 5.0  # seconds
_FILE = re.compile(r"((?:.*/)?leases?(?:/.+)?)-(\d{6,})\.json")
_BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")


class HeldError(UserError):
    """Another process holds the lease, and lives."""


class LostError(UserError):
    """Another process has taken the lease: this one gave no sign of life for too long."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
      host: its name.
      process: its number there.
      machine: tells two machines of one name apart.
      token: tells two holders of one number apart.
      renewed: seconds since 1970 of the last sign of life, by its own clock.
      released: whether it has given the lease back.
    """

    host: str
    process: int
    machine: str
    token: str
    renewed: float
    released: bool = False

    @classmethod
    def this_process(cls) -> "Holder":
        """A new holder, this process."""
        token = secrets.token_hex(8)
        _TOKENS.add(token)
        return cls(socket.gethostname(), os.getpid(), _machine(), token, time.time())

    def is_dead(self) -> bool:
        """Whether it certainly lives no more; False where that is not known from here."""
        if self.released or time.time() - self.renewed > _LONG_AGO:
            return True
        if not self.machine or (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        if self.process == os.getpid():  # a container's first process always has the number 1
            return self.token not in _TOKENS
        return not pathlib.Path(f"/proc/{self.process}").exists()

    def describe(self) -> str:
        """The holder in words."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.renewed))
        return f"process {self.process} on {self.host}, last seen {when} UTC"


def holders(store: Store, names: Iterable[str]) -> dict[str, Holder]:
    """Who has or had each lease last: lease -> holder.

    Args:
      names: of the files in the store.

    Raises:
      StoreError: the store does not answer.
    """
    newest: dict[str, int] = {}
    for match in filter(None, map(_FILE.fullmatch, names)):
        newest[match[1]] = max(newest.get(match[1], 0), int(match[2]))
    found = {n: _parse(store.read(f"{n}-{number:06}.json") or b"") for n, number in newest.items()}
    return {name: holder for name, holder in found.items() if holder}


class Lease:
    """A lease of one name, which this process may take.

    Args:
      store: the shared folder.
      name: of the lease; it may have folders (`cells/NAME/lease`).
    """

    def __init__(self, store: Store, name: str = "lease"):
        self._store, self._name = store, name
        self._number = 0
        self._me: Holder | None = None
        self._seen, self._since = "", 0.0  # the holder's last sign of life, and when it was new
        self.holder: Holder | None = None  # of the last attempt: who has or had it before
        self.renewed = False  # whether the holder gave a sign of life between two attempts

    def try_acquire(self) -> bool:
        """Takes the lease if it is free or its holder is dead; it may be called again and again.

        Raises:
          StoreError: the store does not answer.
        """
        number, content = self._newest()
        self.holder = _parse(content)
        if self.holder and not self.holder.is_dead() and not self._is_silent(content):
            return False
        me = Holder.this_process()
        if not self._store.write(self._file(number + 1), _format(me), new=True):
            return False
        numbers = self._numbers()
        if max(numbers) != number + 1:  # it was taken, given back and taken between two lines
            self._store.delete([self._file(number + 1)])
            return False
        self._number, self._me = number + 1, me
        self._store.delete(self._file(old) for old in numbers if old <= number)
        return True

    def look(self) -> Holder | None:
        """Who has or had the lease last; takes nothing.

        Raises:
          StoreError: the store does not answer.
        """
        return _parse(self._newest()[1])

    def acquire(self, *, sleep: Callable[[float], None] = time.sleep, step: float = 3.0) -> None:
        """Takes the lease, if need be after as long as tells a dead holder from a living one.

        Raises:
          HeldError: another process holds it.
          StoreError: the store does not answer.
        """
        said = False
        while not self.try_acquire():
            if self.holder is None:
                continue
            if self.renewed:
                raise HeldError(
                    f"{self._store.url}: another run is in this folder ({self.holder.describe()}); "
                    "wait for it or give another one"
                )
            if not said:
                notify(
                    f"note: {self._store.url} is held by {self.holder.describe()}; waiting up to "
                    f"{LIFETIME:.0f} s for a sign of life"
                )
                said = True
            sleep(step)
        if self.holder and not self.holder.released:
            notify(f"note: the lease of {self.holder.describe()}, which is gone, is taken over")

    def renew(self) -> None:
        """Gives a sign of life.

        Raises:
          LostError: another process has taken the lease.
          StoreError: the store does not answer.
        """
        assert self._me is not None
        number, content = self._newest()
        if number > self._number:
            other = _parse(content)
            raise LostError(
                f"{self._store.url}: another run has taken this folder over"
                + (f" ({other.describe()})" if other else "")
            )
        self._me = dataclasses.replace(self._me, renewed=time.time())
        self._store.write(self._file(self._number), _format(self._me))

    def release(self) -> None:
        """Gives the lease back; who had it last stays on record.

        Raises:
          StoreError: the store does not answer; the lease will run out.
        """
        if self._me is not None:
            self._me = dataclasses.replace(self._me, renewed=time.time(), released=True)
            self._store.write(self._file(self._number), _format(self._me))

    @property
    def token(self) -> str:
        """The name of this process's hold on the lease."""
        return self._me.token if self._me else ""

    @contextlib.contextmanager
    def kept(self, on_lost: Callable[[LostError], None]) -> Iterator[None]:
        """Renews the lease while the block runs, in a thread, and gives it back at the end.

        Args:
          on_lost: called in that thread when another process has taken the lease.
        """
        end = threading.Event()

        def renew() -> None:
            try:
                while not end.wait(RENEW_EVERY):
                    # The mirror says so; it is tried again. A full disk is no StoreError.
                    with contextlib.suppress(StoreError, OSError):
                        self.renew()
            except LostError as error:
                on_lost(error)
            else:
                with contextlib.suppress(StoreError, OSError):  # it will run out
                    self.release()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join(_RELEASE_WITHIN)  # in the thread, because the store may hang

    def _is_silent(self, content: bytes) -> bool:
        """Whether the holder has given no sign of life since this process began to look."""
        now, seen = time.monotonic(), content.decode(errors="replace")
        if seen != self._seen:
            self.renewed = self._seen != ""
            self._seen, self._since = seen, now
        return now - self._since >= LIFETIME

    def _newest(self) -> tuple[int, bytes]:
        """(number, content) of the lease; (0, b"") where nobody ever had it."""
        number = max(self._numbers(), default=0)
        return number, (self._store.read(self._file(number)) or b"") if number else b""

    def _numbers(self) -> list[int]:
        folder, _, name = self._name.rpartition("/")
        pattern = re.compile(re.escape(f"{folder}/{name}".lstrip("/")) + r"-(\d+)\.json")
        found = map(pattern.fullmatch, self._store.list(folder, deep=False))
        return [int(match[1]) for match in found if match]

    def _file(self, number: int) -> str:
        return f"{self._name}-{number:06}.json"


def _machine() -> str:
    try:
        return _BOOT.read_text(encoding="utf-8").strip()
    except OSError:  # not on Linux: such a holder is watched, always
        return ""


def _format(holder: Holder) -> bytes:
    return json.dumps(dataclasses.asdict(holder), indent=2).encode() + b"\n"


def _parse(content: bytes) -> Holder | None:
    """The holder; None where there is none, or the object is none of ours."""
    names = {field.name for field in dataclasses.fields(Holder)}
    try:  # a later version may say more
        return Holder(**{k: v for k, v in json.loads(content).items() if k in names})
    except (ValueError, TypeError, AttributeError):
        return None
