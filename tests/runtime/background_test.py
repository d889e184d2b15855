"""One piece of work at a time beside the caller's."""

import threading

import pytest

from vaetx_jax.runtime.background import Background


def test_work_goes_on_beside_the_caller_until_it_is_waited_for():
    background, release, done = Background(), threading.Event(), []

    def work():
        release.wait(60.0)
        done.append(True)

    background.start(work)
    assert not background.is_done() and not done
    release.set()
    assert background.wait() is None and done and background.is_done()


def test_an_error_is_given_once_to_who_waits():
    background, error = Background(), ValueError("wrong")

    def work():
        raise error

    background.start(work)
    assert background.wait() is error
    assert background.wait() is None


def test_nothing_is_started_before_the_one_before_was_waited_for():
    background = Background()
    background.start(lambda: None)
    with pytest.raises(AssertionError):
        background.start(lambda: None)
    assert background.wait() is None
    background.start(lambda: None)
    assert background.wait() is None
