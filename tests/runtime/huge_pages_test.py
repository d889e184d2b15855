"""A command starts itself again with huge pages once, and never against the user's choice."""

import os
import sys

import pytest

from vaetx_jax.runtime import huge_pages


@pytest.fixture
def started(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(huge_pages, "_has_glibc", lambda: True)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "vaetx_jax.main", "--config=a b.py"])
    return calls


def test_the_same_command_is_started_again_with_huge_pages(started, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    huge_pages.restart()
    ((program, arguments, environment),) = started
    assert program == sys.executable
    assert arguments == [sys.executable, "-m", "vaetx_jax.main", "--config=a b.py"]
    assert environment == {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@pytest.mark.parametrize("chosen", ["glibc.malloc.hugetlb=0", "a=1:glibc.malloc.hugetlb=2"])
def test_a_choice_of_the_user_stands(started, monkeypatch, chosen):
    monkeypatch.setenv("GLIBC_TUNABLES", chosen)
    huge_pages.restart()
    assert started == []


def test_other_tunables_are_kept(started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    huge_pages.restart()
    wanted = "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    assert started[0][2]["GLIBC_TUNABLES"] == wanted


def test_without_glibc_nothing_happens(started, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(huge_pages, "_has_glibc", lambda: False)
    huge_pages.restart()
    assert started == []
