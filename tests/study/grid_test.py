"""A grid of runs: what is done, what is not done again, what is said of what went wrong."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from tests.study.tables_test import figures_of
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.keys import differences
from vaetx_jax.config.study import default_study
from vaetx_jax.errors import ConfigError, DamagedError
from vaetx_jax.study import __main__, cell_process, cells
from vaetx_jax.study import grid as grid_lib
from vaetx_jax.study.cell_process import CellRun, Events, carry_out
from vaetx_jax.study.grid import GridStudy
from vaetx_jax.training.trainer import StoppedError

ROWS = (("vae_gru", "cyclic"), ("vae_gru", "none"), ("gru_lm", "none"))
LABELS = [
    f"grammar-{model}-{annealing}-z{16 * model.startswith('vae')}-s{seed}"
    for model, annealing in ROWS
    for seed in (0, 1)
]


def study_of(rows=ROWS, **settings) -> ConfigDict:
    config = default_study("made", "grid")
    config.study.corpora, config.study.rows, config.study.seeds = ("grammar",), rows, (0, 1)
    config.study.latent_dim = 16
    config.study.update(settings)
    return config


# The parent, with a process that only seems to train -------------------------------------------


class Process:
    """Stands in for `cell_run`: finishes the first cell of an order, or does what is planned.

    Attributes:
      plans: label -> what becomes of the cell, attempt by attempt: `damaged`, the reason of a
        failure, or the exit status of a process that tells nothing.
      orders: what has been ordered.
      together: how many cells are finished by one order.
    """

    def __init__(self, plans=None, together=1):
        self.plans, self.together, self.orders = plans or {}, together, []

    def __call__(self, order, note) -> int:
        self.orders.append(order)
        for cell in order["cells"][: self.together]:
            folder = pathlib.Path(cell["folder"])
            plan = self.plans.get(folder.name.rpartition("-")[0], [])
            result = plan.pop(0) if plan else None
            if isinstance(result, int):
                return result
            if result is None:
                finish(folder, cell["config"])
            folder.mkdir(parents=True, exist_ok=True)
            damaged = result == "damaged"
            note({"cell": folder.name, "seconds": 1.0, "error": result, "damaged": damaged})
        return 0

    @property
    def ordered(self) -> list[str]:
        """The label of the first cell of each order."""
        return [
            order["cells"][0]["folder"].split("/")[-1].rpartition("-")[0] for order in self.orders
        ]


def finish(folder, config):
    """Leaves a cell's folder as a training does."""
    folder.mkdir(parents=True, exist_ok=True)
    model, samples = config["model"]["name"], config["evaluation"]["iw_samples"]
    figures = figures_of(model, seed=config["seed"], iw_samples=samples)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text('{"step": 1, "train/ppl_rec": 9.0, "train/kl": 1.0}\n')
    (folder / cells.EVALUATION).write_text(json.dumps(figures))
    cells.seal(folder, {"seconds": 1.0, "device": "cpu", "devices": 1})


@pytest.fixture
def process(monkeypatch):
    """Puts such a process in the place of the real one."""

    def put(plans=None, together=1):
        made = Process(plans, together)
        monkeypatch.setattr(grid_lib, "_in_a_process", made)
        return made

    return put


def test_every_cell_is_done_once_and_never_again(process, tmp_path, capsys):
    first = process()
    grid = GridStudy(study_of(), tmp_path).run()
    assert first.ordered == [result.cell.label for result in grid.results] == LABELS
    assert (grid.missing, grid.failed) == ({}, 0)
    assert grid.results[0].figures["ppl_rec"] == 70.0 and grid.results[0].facts["seconds"] == 1.0
    again = process()
    assert GridStudy(study_of(), tmp_path).run() == grid
    assert again.orders == [] and "6 of 6 cells are finished already" in capsys.readouterr().out


def test_an_order_has_all_cells_of_one_program_that_are_not_finished(process, tmp_path):
    made = process(together=2)
    GridStudy(study_of(together=3), tmp_path).run()
    assert [len(order["cells"]) for order in made.orders] == [4, 2, 2]
    assert {order["together"] for order in made.orders} == {3}
    assert all(cell["trains"] for order in made.orders for cell in order["cells"])


def test_only_vaes_are_probed(process, tmp_path):
    made = process(together=4)
    GridStudy(study_of(show=("probe",)), tmp_path).run()
    probes = [{cell["probes"] for cell in order["cells"]} for order in made.orders]
    assert made.ordered == [LABELS[0], LABELS[4]] and probes == [{True}, {False}]


def test_progress_over_the_grid_is_told_with_the_time_left(process, tmp_path, capsys):
    process()
    GridStudy(study_of(), tmp_path).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.split()[:2] for line in lines] == [
        [f"[{number}/6]", f"{label}{',' * (number > 1)}"]
        for number, label in enumerate(LABELS, start=1)
    ]
    assert all(line.endswith("left for all") for line in lines[1:])


def test_only_picks_cells_and_the_others_are_missing(process, tmp_path):
    made = process()
    grid = GridStudy(study_of(only="*-vae_*-s1, *gru_lm*s0"), tmp_path).run()
    assert made.ordered == [LABELS[1], LABELS[3], LABELS[4]]
    assert list(grid.missing) == [LABELS[0], LABELS[2], LABELS[5]]
    assert set(grid.missing.values()) == {"not run (not finished)"} and grid.failed == 0


def test_cells_finished_before_are_in_the_table_of_a_study_that_picks_others(process, tmp_path):
    process()
    GridStudy(study_of(only="*s1"), tmp_path).run()
    assert len(GridStudy(study_of(only="*s0"), tmp_path).run().results) == 6


def test_a_pattern_that_fits_no_cell_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'ptb-.' fits none of grammar-vae_gru"):
        GridStudy(study_of(only="ptb-*"), tmp_path)


def test_a_failed_cell_is_reported_and_the_rest_goes_on(process, tmp_path, capsys):
    process({LABELS[1]: ["step 4: the loss is not finite"]})
    assert __main__.run(study_of(), tmp_path) == 1
    captured = capsys.readouterr()
    assert f"{LABELS[1]} FAILED: step 4: the loss is not finite" in captured.err
    assert "error: 1 cells failed" in captured.err
    rows = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert [row["seeds"] for row in rows] == [[0], [0, 1], [0, 1]]
    assert f"failed: {LABELS[1]} (step 4: the loss" in (tmp_path / "made.md").read_text()


def test_a_failed_cell_is_tried_again_by_the_next_call(process, tmp_path):
    process({LABELS[1]: ["out of luck"]})
    assert __main__.run(study_of(), tmp_path) == 1
    made = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert made.ordered == [LABELS[1]]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (-signal.SIGKILL, "its process ended with signal 9, perhaps for lack of memory"),
        (-signal.SIGSEGV, "its process ended with signal 11"),
        (1, "its process ended with exit status 1"),
        (0, "its process ended with exit status 0"),
    ],
)
def test_a_process_that_ends_without_a_word_is_one_failed_cell(process, tmp_path, status, reason):
    made = process({LABELS[0]: [status]})
    grid = GridStudy(study_of(), tmp_path).run()
    assert made.ordered == LABELS and grid.missing == {LABELS[0]: reason} and grid.failed == 1


def test_a_process_that_ends_after_some_of_its_cells_is_started_for_the_others(process, tmp_path):
    made = process({LABELS[2]: [-signal.SIGKILL]}, together=4)
    grid = GridStudy(study_of(), tmp_path).run()
    assert made.ordered == [LABELS[0], LABELS[2], LABELS[4]] and len(grid.results) == 6


def test_a_stopped_study_leaves_with_75_and_goes_on(process, tmp_path, capsys):
    process({LABELS[1]: [75]})
    assert __main__.run(study_of(), tmp_path) == 75
    assert "Start the same command again to go on" in capsys.readouterr().out
    made = process()
    assert __main__.run(study_of(), tmp_path) == 0
    assert made.ordered == LABELS[1:]


def cell_folder(folder, label):
    (found,) = [path for path in (folder / "cells").iterdir() if path.name.startswith(label)]
    return found


def test_a_damaged_cell_is_set_aside_reported_and_trained_anew(process, tmp_path, capsys):
    process()
    GridStudy(study_of(), tmp_path).run()
    folder = cell_folder(tmp_path, LABELS[3])
    (folder / "metrics.jsonl").write_text("something else")
    made = process()
    grid = GridStudy(study_of(), tmp_path).run()
    assert made.ordered == [LABELS[3]] and made.orders[0]["cells"][0]["trains"]
    assert len(grid.results) == 6 and grid.failed == 0
    assert f"{folder.name} is damaged: metrics.jsonl is not what" in capsys.readouterr().out
    aside = folder.with_name(f"{folder.name}.damaged-1")
    assert (aside / "metrics.jsonl").read_text() == "something else"


def test_a_damaged_cell_that_is_not_picked_is_not_averaged_in(process, tmp_path):
    process()
    GridStudy(study_of(), tmp_path).run()
    (cell_folder(tmp_path, LABELS[3]) / "metrics.jsonl").write_text("something else")
    grid = GridStudy(study_of(only="*gru_lm*"), tmp_path).run()
    assert list(grid.missing) == [LABELS[3]] and "metrics.jsonl" in grid.missing[LABELS[3]]


def test_a_cell_whose_result_is_damaged_is_judged_again_but_not_trained(process, tmp_path, capsys):
    process()
    GridStudy(study_of(), tmp_path).run()
    folder = cell_folder(tmp_path, LABELS[0])
    (folder / cells.EVALUATION).write_text("{}")
    made = process()
    grid = GridStudy(study_of(), tmp_path).run()
    assert [cell["trains"] for order in made.orders for cell in order["cells"]] == [False]
    assert len(grid.results) == 6
    assert f"{folder.name} is judged again" in capsys.readouterr().out


def test_other_judging_settings_judge_again(process, tmp_path):
    process()
    GridStudy(study_of(), tmp_path).run()
    config = study_of()
    config.run.evaluation.iw_samples = 500
    made = process()
    assert GridStudy(config, tmp_path).run().results[0].figures["iw_samples"] == 500
    assert [order["cells"][0]["trains"] for order in made.orders] == [False] * 6


def test_a_cell_found_damaged_while_it_goes_on_is_trained_anew_once(process, tmp_path, capsys):
    made = process({LABELS[0]: ["damaged"], LABELS[2]: ["damaged", "damaged"]})
    grid = GridStudy(study_of(), tmp_path).run()
    assert sorted(made.ordered) == sorted([*LABELS, LABELS[0], LABELS[2]])
    assert grid.missing == {LABELS[2]: "damaged"} and grid.failed == 1
    assert capsys.readouterr().out.count("is damaged: damaged. It is now") == 2
    aside = [path.name for path in (tmp_path / "cells").iterdir() if "damaged" in path.name]
    assert len(aside) == 2


def test_a_study_without_a_finished_cell_says_so_and_writes_no_table(process, tmp_path, capsys):
    process({label: ["no luck"] for label in LABELS})
    assert __main__.run(study_of(), tmp_path) == 1
    assert "there is none yet" in capsys.readouterr().out
    assert not (tmp_path / "made.json").exists()


# The process ------------------------------------------------------------------------------------


def run_instead(monkeypatch, script):
    """Has `_in_a_process` start this script; it is given the number of the file for events."""
    start = subprocess.Popen

    def popen(command, **options):
        return start([sys.executable, "-c", script, command[-1]], **options)

    monkeypatch.setattr(grid_lib.subprocess, "Popen", popen)


ECHO = """
import json, os, sys
order = json.loads(sys.stdin.readline())
with os.fdopen(int(sys.argv[1]), "w") as events:
    for cell in order["cells"]:
        print(json.dumps({"cell": cell}), file=events, flush=True)
"""


def test_a_process_reads_its_order_and_tells_of_every_cell(monkeypatch):
    run_instead(monkeypatch, ECHO + "sys.exit(3)")
    told = []
    assert grid_lib._in_a_process({"cells": ["a", "b"]}, told.append) == 3
    assert told == [{"cell": "a"}, {"cell": "b"}]


@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("leaves", ["signal.pause()", "sys.exit(0)"])
def test_who_asks_to_stop_stops_the_study_whatever_the_process_does(monkeypatch, asked, leaves):
    """While it trains it saves and leaves; while it judges the signal ends it, or it is done."""
    before = signal.getsignal(signal.SIGINT)
    ask = f"import signal; os.kill(os.getppid(), signal.{asked}); {leaves}"
    run_instead(monkeypatch, ECHO + ask)
    assert grid_lib._in_a_process({"cells": ["a"]}, lambda event: None) == 75
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ends_at_once_is_no_broken_pipe(monkeypatch):
    run_instead(monkeypatch, "raise SystemExit(4)")
    assert grid_lib._in_a_process({"cells": ["x" * 100_000]}, lambda event: None) == 4


class Told(list):
    """The events of a process."""

    def write(self, text):
        self.append(json.loads(text))

    def flush(self):
        pass


def order_of(*folders, config=None, together=1, trains=True, probes=False):
    cells_ = [
        {"folder": str(folder), "config": config, "trains": trains, "probes": probes}
        for folder in folders
    ]
    return {"together": together, "cells": cells_}


@pytest.fixture
def plain(config):
    """The tiny settings as an order has them."""
    return json.loads(json.dumps(config.to_dict()))


def test_any_error_of_a_cell_is_told_and_kept_whole(monkeypatch, plain, tmp_path):
    def train(run):
        raise ZeroDivisionError("of a kind that nobody thought of")

    monkeypatch.setattr(cell_process, "train_alone", train)
    told = Told()
    assert carry_out(order_of(tmp_path / "a", tmp_path / "b", config=plain), Events(told)) == 0
    assert [event["cell"] for event in told] == ["a"], "the other has a process of its own"
    assert told[0]["error"] == "ZeroDivisionError: of a kind that nobody thought of"
    assert not told[0]["damaged"]
    assert "in train\n" in (tmp_path / "a" / "error.txt").read_text()


def test_a_stopped_cell_leaves_with_75(monkeypatch, plain, tmp_path):
    def train(run):
        raise StoppedError("stopped after step 4")

    monkeypatch.setattr(cell_process, "train_alone", train)
    told = Told()
    assert carry_out(order_of(tmp_path / "a", config=plain), Events(told)) == 75
    assert told == []


def test_of_cells_in_one_program_only_the_damaged_one_is_called_so(
    monkeypatch, config, plain, trained, tmp_path
):
    """Both have been trained already; the tokenizer of one is not what it was."""
    folders = [shutil.copytree(trained, tmp_path / name) for name in ("sound", "broken")]
    next((folders[1] / "tokenizer").glob("*.model")).write_bytes(b"something else")
    monkeypatch.setattr(CellRun, "finish", lambda self: None)
    told = Told()
    assert carry_out(order_of(*folders, config=plain, together=2), Events(told)) == 0
    assert [(event["cell"], event["damaged"]) for event in told] == [
        ("sound", False),
        ("broken", True),
    ]
    assert told[0]["error"] is None


def test_half_a_checkpoint_that_was_being_deleted_costs_nothing(
    monkeypatch, plain, trained, tmp_path
):
    """As a kill can leave one."""
    folder = shutil.copytree(trained, tmp_path / "cell")
    oldest = min((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(oldest / "state")
    monkeypatch.setattr(CellRun, "finish", lambda self: None)
    told = Told()
    assert carry_out(order_of(folder, config=plain), Events(told)) == 0
    assert told[0]["error"] is None


def test_a_cell_is_judged_and_probed_by_the_settings_of_now(plain, trained, tmp_path):
    """It was trained with 2 samples and other probes in mind, which its folder still says."""
    folder = shutil.copytree(trained, tmp_path / "cell")
    plain["evaluation"]["iw_samples"], plain["samples"]["count"] = 3, 0
    plain["probe"]["epochs"], told = 1, Told()
    order = order_of(folder, config=plain, trains=False, probes=True)
    assert carry_out(order, Events(told)) == 0
    assert told[0]["error"] is None
    found = cells.condition(folder, iw_samples=3, protocol=plain["probe"])
    assert found == (cells.Condition.FINISHED, "finished")


def test_an_unfinished_cell_whose_config_is_damaged_is_damaged(plain, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "cell")
    (folder / "config.json").write_text("{")
    with pytest.raises(DamagedError, match="not a config"):
        CellRun(order_of(folder, config=plain)["cells"][0]).prepare()


# Everything, with real processes ----------------------------------------------------------------


# As in conftest.py, for processes of their own.
QUICK = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")


@pytest.fixture(scope="module")
def real_study(config) -> ConfigDict:
    """A text VAE and a language model, a few steps each."""
    real = default_study("real", "grid")
    real.study.corpora, real.study.seeds, real.study.latent_dim = ("grammar",), (0,), 4
    real.study.rows = (("vae_transformer", "cyclic"), ("transformer_lm", "none"))
    real.study.show = ("language", "curves")
    for key, (_, value) in differences(default_config(), config).items():
        if key != "model.latent_dim":
            real.run.update_from_flattened_dict({key: value})
    real.run.data.groups, real.run.model.layers, real.run.train.steps = 1, 1, 6
    return real


@pytest.fixture(scope="module")
def real_folder(real_study, tmp_path_factory) -> pathlib.Path:
    """The folder of that study, done by two processes."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*QUICK)
        assert __main__.run(real_study, folder) == 0
    return folder


@pytest.mark.slow
def test_a_study_writes_the_figures_of_its_cells(real_folder):
    rows = json.loads((real_folder / "real.json").read_text())["rows"]
    assert [(row["model"], row["annealing"]) for row in rows] == [
        ("vae_transformer", "cyclic"),
        ("transformer_lm", "none"),
    ]
    table, page = (real_folder / "real.md").read_text(), (real_folder / "report.html").read_text()
    for row in rows:
        (name,) = row["cells"]
        figures = json.loads((real_folder / "cells" / name / cells.EVALUATION).read_text())
        for key, summary in row["ours"].items():
            assert (summary and summary["mean"]) == figures[key], key
        assert row["parameters"] == figures["parameters"] and figures["seed"] == 0
        assert f"{figures['ppl_rec']:.2f}" in table and f"{figures['ppl_elbo']:.2f}" in table
        assert f"{figures['ppl_rec']:.2f}" in page and name.rpartition("-")[0] in page
        assert f"| {row['model']}" in table
    for picture in ("real-grammar-curves.png", "real-rate.png"):
        assert f"]({picture})" in table and (real_folder / picture).stat().st_size > 5_000


@pytest.mark.slow
def test_cells_say_how_they_were_trained_and_with_what(real_folder):
    for folder in (real_folder / "cells").iterdir():
        facts = json.loads((folder / cells.SEAL).read_text())
        assert facts["seconds"] > 0 and facts["together"] == 1 and facts["device"] == "cpu"
        assert {"config.json", "metrics.jsonl", cells.EVALUATION} < set(facts["sha256"])
        assert "nats a sentence" in (folder / "report.txt").read_text()


@pytest.mark.slow
def test_a_second_call_runs_nothing_and_writes_the_same(real_study, real_folder, process):
    before = json.loads((real_folder / "real.json").read_text())
    made = process()
    assert __main__.run(real_study, real_folder) == 0
    assert made.orders == [] and json.loads((real_folder / "real.json").read_text()) == before


@pytest.mark.slow
def test_a_damaged_evaluation_is_made_again_with_the_same_figures(
    real_study, real_folder, monkeypatch
):
    monkeypatch.setenv(*QUICK)
    (folder,) = (real_folder / "cells").glob("*vae_transformer*")
    path, metrics = folder / cells.EVALUATION, (folder / "metrics.jsonl").read_bytes()
    facts = json.loads((folder / cells.SEAL).read_text())
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"1", b"2", 1))
    assert __main__.run(real_study, real_folder) == 0
    assert path.read_bytes() == sound and (folder / "metrics.jsonl").read_bytes() == metrics
    assert json.loads((folder / cells.SEAL).read_text()) == facts
