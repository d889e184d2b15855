"""Leases: one holder at a time, dead ones found out without a clock that both believe in."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from vaetx_jax.runtime import lease as lease_lib
from vaetx_jax.runtime.lease import HeldError, Holder, Lease, LostError
from vaetx_jax.runtime.store import Store, StoreError


@pytest.fixture
def store(tmp_path):
    return Store(f"local://{tmp_path}/bucket/run")


@pytest.fixture
def clock(monkeypatch):
    """A watch that stands still until it is told to go on."""
    now = [1000.0]
    monkeypatch.setattr(lease_lib.time, "monotonic", lambda: now[0])
    return now


def elsewhere(store, number=1, **changes) -> Holder:
    """A holder on another machine."""
    holder = Holder("other", 7, "another machine", "abc", time.time())
    holder = dataclasses.replace(holder, **changes)
    store.write(f"lease-{number:06}.json", json.dumps(dataclasses.asdict(holder)).encode())
    return holder


def test_a_free_lease_is_taken_and_held_against_others(store):
    first, second = Lease(store), Lease(store)
    assert first.try_acquire() and first.holder is None
    assert not second.try_acquire()
    assert second.holder.process == os.getpid() and second.holder.token == first.token


def test_a_released_lease_is_taken_by_the_next_who_learns_who_had_it(store):
    first, second = Lease(store), Lease(store)
    first.try_acquire()
    first.release()
    assert second.try_acquire() and second.holder.token == first.token
    assert list(store.list()) == ["lease-000002.json"]


def test_leases_of_several_names_do_not_meet(store):
    assert Lease(store, "cells/a/lease").try_acquire()
    assert Lease(store, "cells/a/lease-2").try_acquire()
    assert Lease(store, "cells/b/lease").try_acquire()
    assert not Lease(store, "cells/a/lease").try_acquire()


def test_a_holder_that_gives_no_sign_of_life_is_dead_after_a_while(store, clock):
    elsewhere(store, renewed=time.time() + 500.0)  # whatever its clock says
    lease = Lease(store)
    assert not lease.try_acquire()
    clock[0] += lease_lib.LIFETIME - 1.0
    assert not lease.try_acquire()
    clock[0] += 1.0
    assert lease.try_acquire()


def test_a_holder_that_lives_keeps_its_lease(store, clock):
    elsewhere(store)
    lease = Lease(store)
    for beat in range(20):
        assert not lease.try_acquire()
        clock[0] += lease_lib.LIFETIME / 2.0
        elsewhere(store, renewed=1000.0 + time.time() + beat)
    assert lease.renewed


def test_who_waits_for_a_living_holder_is_told_who_it_is(store):
    elsewhere(store)

    def beat(_):
        elsewhere(store, renewed=time.time() + 1.0)

    with pytest.raises(HeldError, match=r"another run is in this folder \(process 7 on other, la"):
        Lease(store).acquire(sleep=beat)


def test_who_takes_over_says_from_whom(store, clock, capsys):
    elsewhere(store)

    def wait(_):
        clock[0] += 30.0

    Lease(store).acquire(sleep=wait)
    said = capsys.readouterr().err
    assert "is held by process 7 on other" in said and "which is gone, is taken over" in said


def test_what_is_long_ago_is_not_waited_for(store):
    elsewhere(store, renewed=time.time() - 3600.0)
    assert Lease(store).try_acquire()


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(store):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    me = Holder.this_process()
    elsewhere(store, host=me.host, machine=me.machine, process=gone.pid)
    assert Lease(store).try_acquire()


def test_a_former_process_of_the_same_number_is_gone(store):
    me = Holder.this_process()
    elsewhere(store, host=me.host, machine=me.machine, process=me.process, token="before")
    assert Lease(store).try_acquire()


def test_who_was_taken_over_learns_it_at_the_next_renewal(store):
    lease = Lease(store)
    lease.try_acquire()
    lease.renew()
    elsewhere(store, number=2)
    with pytest.raises(LostError, match=r"taken this folder over \(process 7 on other"):
        lease.renew()


def test_of_many_that_try_at_once_one_gets_a_dead_lease(store):
    elsewhere(store, released=True)
    leases = [Lease(store) for _ in range(8)]
    start, got = threading.Barrier(len(leases)), []

    def take(lease):
        start.wait()
        got.append(lease.try_acquire())

    threads = [threading.Thread(target=take, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1


def test_who_read_before_two_others_came_and_went_does_not_get_it(store, monkeypatch):
    elsewhere(store, released=True)
    slow, numbers = Lease(store), Lease._numbers
    looked = []

    def stale(self):
        found = numbers(self)
        if self is slow and not looked:
            looked.append(found)
            for _ in range(2):  # 2 and 3 are taken, and 1 and 2 deleted, meanwhile
                other = Lease(store)
                assert other.try_acquire()
                last = other
                if len(looked) == 1:
                    looked.append(other)
                    other.release()
            self.last = last
        return found

    monkeypatch.setattr(Lease, "_numbers", stale)
    assert not slow.try_acquire()
    assert list(store.list()) == ["lease-000003.json"]
    slow.last.renew()


def test_a_lease_that_is_kept_is_given_back_at_the_end(store):
    lease = Lease(store)
    lease.acquire()
    with lease.kept(on_lost=pytest.fail):
        assert not Lease(store).try_acquire()
    assert Lease(store).try_acquire()


def test_a_lost_lease_is_reported_and_not_given_back(store, monkeypatch):
    monkeypatch.setattr(lease_lib, "RENEW_EVERY", 0.001)
    lease, lost = Lease(store), threading.Event()
    lease.acquire()
    with lease.kept(on_lost=lambda error: lost.set()):
        holder = elsewhere(store, number=2)
        assert lost.wait(30.0)
    later = Lease(store)
    assert not later.try_acquire() and later.holder == holder


@pytest.mark.parametrize(
    "error", [StoreError("503"), OSError(errno.ENOSPC, "No space left")], ids=["store", "full disk"]
)
def test_a_store_that_fails_does_not_lose_the_lease(store, monkeypatch, error):
    monkeypatch.setattr(lease_lib, "RENEW_EVERY", 0.001)
    lease, failed = Lease(store), threading.Event()
    lease.acquire()
    write, tries = store.write, []

    def failing(*given, **how):
        tries.append(given)
        if len(tries) < 3:
            raise error
        failed.set()
        return write(*given, **how)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", failing)
        with lease.kept(on_lost=pytest.fail):
            assert failed.wait(30.0)
    assert Lease(store).try_acquire()
