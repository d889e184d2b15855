"""Memory that the compiler has freed goes back to the system, so that it does not add to the peak.

Compiling a training step takes some 200 MB for a few seconds. The C library keeps them, in
pieces that a step's large arrays do not fit into, and a run compiles a program per length.
"""

import ctypes
import functools
from typing import Any

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's name of the event
_LEAST_SECONDS = 0.5  # programs that compile faster leave little behind


@functools.cache
def return_after_compiling() -> None:
    """From now on, once a program is compiled (and before it runs), returns what is free.

    Does nothing off glibc. A second call changes nothing.
    """
    trim = _trim()
    if trim is None:
        return

    def compiled(event: str, duration_secs: float, **_: Any) -> None:
        if event == _COMPILED and duration_secs >= _LEAST_SECONDS:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(compiled)


def _trim() -> Any:
    """glibc's `malloc_trim`; None: the C library is another."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
