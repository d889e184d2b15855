"""A stand-in for the process that trains the cells of a study."""

import json

import pytest

from tests.helpers.finished_cells import metrics_of
from vaetx_jax.study import scheduler, seal
from vaetx_jax.study.messages import Event, Outcome


class FakeProcess:
    """Finishes the first cell of an order, or ends as planned.

    Attributes:
      plans: label -> the ends of a cell, attempt by attempt: `damaged`, the reason of a failure,
        or the exit status of a process that sends no event.
      orders: the orders so far.
      together: how many cells an order finishes.
    """

    def __init__(self, plans=None, together=1):
        self.plans, self.together, self.orders = plans or {}, together, []

    def __call__(self, order):
        self.orders.append(order)
        self._status = 0
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def events(self):
        for cell in self.orders[-1].cells[: self.together]:
            name = cell.folder.name
            plan = self.plans.get(name.rpartition("-")[0], [])
            end = plan.pop(0) if plan else None
            if isinstance(end, int):
                self._status = end
                return
            cell.folder.mkdir(parents=True, exist_ok=True)
            if end is None:
                finish(cell.folder, cell.config)
                yield Event(name, Outcome.DONE, 1.0)
            else:
                outcome = Outcome.DAMAGED if end == "damaged" else Outcome.FAILED
                yield Event(name, outcome, error=end)

    def wait(self):
        return self._status

    @property
    def ordered(self) -> list[str]:
        """The label of the first cell of each order."""
        return [order.cells[0].folder.name.rpartition("-")[0] for order in self.orders]


def finish(folder, config):
    """Leaves a cell's folder as a training does."""
    model, samples = config["model"]["name"], config["evaluation"]["iw_samples"]
    metrics = metrics_of(model, seed=config["seed"], iw_samples=samples)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text('{"step": 1, "train/ppl_rec": 9.0, "train/kl": 1.0}\n')
    (folder / seal.EVALUATION).write_text(json.dumps(metrics))
    seal.seal(folder, {"seconds": 1.0, "device": "cpu", "devices": 1})


@pytest.fixture
def process(monkeypatch):
    """Puts a fake process in the place of the real one."""

    def put(plans=None, together=1):
        fake = FakeProcess(plans, together)
        monkeypatch.setattr(scheduler, "CellProcess", fake)
        return fake

    return put
