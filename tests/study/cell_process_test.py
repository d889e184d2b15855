"""The process that trains cells: what it does with an order, and the events it sends."""

import json
import shutil
from types import SimpleNamespace

import pytest

from vaetx_jax.errors import DamagedError
from vaetx_jax.study import cell_process
from vaetx_jax.study.cell_process import CellRun, EventWriter, execute
from vaetx_jax.study.messages import CellOrder, Event, Order, Outcome
from vaetx_jax.study.seal import Condition, condition
from vaetx_jax.training.trainer import StoppedError


class Sent(list):
    """The events of a process."""

    def write(self, text):
        self.append(Event.from_json(text))

    def flush(self):
        pass


def order_of(*folders, config=None, together=1, train=True, probe=False):
    cells = tuple(CellOrder(folder, config, train, probe) for folder in folders)
    return Order(cells, together)


@pytest.fixture
def plain(config):
    """The tiny settings as an order has them."""
    return json.loads(json.dumps(config.to_dict()))


def test_any_error_of_a_cell_is_sent_and_its_traceback_kept(monkeypatch, plain, tmp_path):
    def train(run):
        raise ZeroDivisionError("of a kind that nobody thought of")

    monkeypatch.setattr(cell_process, "train_alone", train)
    sent = Sent()
    assert execute(order_of(tmp_path / "a", tmp_path / "b", config=plain), EventWriter(sent)) == 0
    assert [event.cell for event in sent] == ["a"], "the other has a process of its own"
    assert sent[0].error == "ZeroDivisionError: of a kind that nobody thought of"
    assert sent[0].outcome is Outcome.FAILED
    assert "in train\n" in (tmp_path / "a" / "error.txt").read_text()


def test_a_cell_s_duration_includes_its_evaluation(monkeypatch, plain, tmp_path):
    clock = [0.0]

    def work(run):
        clock[0] += 60.0

    monkeypatch.setattr(cell_process, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(cell_process, "train_alone", work)
    monkeypatch.setattr(CellRun, "finish", work)
    sent = Sent()
    execute(order_of(tmp_path / "a", config=plain), EventWriter(sent))
    assert [event.seconds for event in sent] == [120.0]


def test_a_stopped_cell_leaves_with_75(monkeypatch, plain, tmp_path):
    def train(run):
        raise StoppedError("stopped after step 4")

    monkeypatch.setattr(cell_process, "train_alone", train)
    sent = Sent()
    assert execute(order_of(tmp_path / "a", config=plain), EventWriter(sent)) == 75
    assert sent == []


def test_of_cells_in_one_program_only_the_damaged_one_is_called_so(
    monkeypatch, config, plain, trained, tmp_path
):
    """Both have been trained already; the tokenizer of one is not what it was."""
    folders = [shutil.copytree(trained, tmp_path / name) for name in ("sound", "broken")]
    next((folders[1] / "tokenizer").glob("*.model")).write_bytes(b"something else")
    monkeypatch.setattr(CellRun, "finish", lambda self: None)
    sent = Sent()
    assert execute(order_of(*folders, config=plain, together=2), EventWriter(sent)) == 0
    assert [(event.cell, event.outcome) for event in sent] == [
        ("sound", Outcome.DONE),
        ("broken", Outcome.DAMAGED),
    ]
    assert sent[0].error == ""


def test_half_a_checkpoint_that_was_being_deleted_costs_nothing(
    monkeypatch, plain, trained, tmp_path
):
    """As a kill can leave one."""
    folder = shutil.copytree(trained, tmp_path / "cell")
    oldest = min((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(oldest / "state")
    monkeypatch.setattr(CellRun, "finish", lambda self: None)
    sent = Sent()
    assert execute(order_of(folder, config=plain), EventWriter(sent)) == 0
    assert sent[0].error == ""


def test_a_cell_is_evaluated_and_probed_by_the_settings_of_its_order(plain, trained, tmp_path):
    """It was trained with 2 samples and other probes in mind, which its folder still says."""
    folder = shutil.copytree(trained, tmp_path / "cell")
    plain["evaluation"]["iw_samples"], plain["samples"]["count"] = 3, 0
    plain["probe"]["epochs"], sent = 1, Sent()
    order = order_of(folder, config=plain, train=False, probe=True)
    assert execute(order, EventWriter(sent)) == 0
    assert sent[0].error == ""
    found = condition(folder, iw_samples=3, protocol=plain["probe"])
    assert found == (Condition.FINISHED, "finished")


def test_an_unfinished_cell_whose_config_is_damaged_is_damaged(plain, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "cell")
    (folder / "config.json").write_text("{")
    with pytest.raises(DamagedError, match="not a config"):
        CellRun(order_of(folder, config=plain).cells[0]).prepare()
