"""After each program that takes long to compile the C library returns what is free."""

import jax
import pytest

from vaetx_jax.runtime import freed_memory

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def listeners(monkeypatch):
    """What is registered with JAX; a fresh module state."""
    found = []
    monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", found.append)
    freed_memory.return_after_compiling.cache_clear()
    yield found
    freed_memory.return_after_compiling.cache_clear()


@pytest.fixture
def trims(monkeypatch):
    calls = []
    monkeypatch.setattr(freed_memory, "_trim", lambda: calls.append)
    return calls


def test_a_program_that_took_long_to_compile_is_followed_by_a_return(listeners, trims):
    freed_memory.return_after_compiling()
    (listener,) = listeners
    listener(COMPILED, 3.0, fun_name="step")
    assert trims == [0]


@pytest.mark.parametrize("event, seconds", [(COMPILED, 0.01), ("/jax/another", 3.0)])
def test_nothing_is_returned_after_what_leaves_little(listeners, trims, event, seconds):
    freed_memory.return_after_compiling()
    listeners[0](event, seconds)
    assert trims == []


def test_a_second_call_registers_nothing_more(listeners, trims):
    freed_memory.return_after_compiling()
    freed_memory.return_after_compiling()
    assert len(listeners) == 1


def test_without_glibc_nothing_is_registered(listeners, monkeypatch):
    monkeypatch.setattr(freed_memory, "_trim", lambda: None)
    freed_memory.return_after_compiling()
    assert listeners == []


def test_jax_reports_compilations_under_the_name_that_is_listened_to():
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event)
    )
    jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()
    assert COMPILED in events
