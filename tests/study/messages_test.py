"""Orders and events keep all they hold on their way through a pipe."""

import pathlib

import pytest

from vaetx_jax.config.defaults import default_config
from vaetx_jax.study.messages import CellOrder, Event, Order, Outcome


def test_an_order_comes_back_as_it_was_sent():
    config = default_config().to_dict()
    cells = tuple(CellOrder(pathlib.Path(f"a b/{i}"), config, i == 0, i == 1) for i in range(2))
    line = Order(cells, together=3).to_json()
    assert "\n" not in line
    assert Order.from_json(line) == Order(cells, together=3)


@pytest.mark.parametrize("outcome", Outcome)
def test_an_event_comes_back_as_it_was_sent(outcome):
    event = Event("ptb-a", outcome, seconds=1.5, error="line 1\nline 2: ä")
    assert "\n" not in event.to_json()
    assert Event.from_json(event.to_json()) == event
