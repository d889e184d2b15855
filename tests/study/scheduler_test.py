"""The scheduler of a grid: which cells it trains, and how it reports those that fail."""

import signal

import pytest

from tests.helpers.small_grid import LABELS, study_of
from vaetx_jax.errors import ConfigError
from vaetx_jax.run.workdir import EVALUATION
from vaetx_jax.study.scheduler import Scheduler
from vaetx_jax.study.sharing import SharedCells


def scheduler_of(config, folder, **options) -> Scheduler:
    return Scheduler(config, SharedCells(folder), **options)


def test_every_cell_is_done_once_and_never_again(process, tmp_path, capsys):
    first = process()
    grid = scheduler_of(study_of(), tmp_path).run()
    assert first.ordered == [result.cell.label for result in grid.results] == LABELS
    assert (grid.missing, grid.failed) == ({}, 0)
    assert grid.results[0].metrics["ppl_rec"] == 70.0 and grid.results[0].training["seconds"] == 1.0
    again = process()
    assert scheduler_of(study_of(), tmp_path).run() == grid
    assert again.orders == [] and "6 of 6 cells are finished already" in capsys.readouterr().out


def test_an_order_has_all_cells_of_one_program_that_are_not_finished(process, tmp_path):
    fake = process(together=2)
    scheduler_of(study_of(together=3), tmp_path).run()
    assert [len(order.cells) for order in fake.orders] == [3, 2, 2]
    assert {order.together for order in fake.orders} == {3}
    assert all(cell.train for order in fake.orders for cell in order.cells)


def test_only_vaes_are_probed(process, tmp_path):
    fake = process(together=4)
    scheduler_of(study_of(show=("probe",), together=4), tmp_path).run()
    probes = [{cell.probe for cell in order.cells} for order in fake.orders]
    assert fake.ordered == [LABELS[0], LABELS[4]] and probes == [{True}, {False}]


def test_progress_over_the_grid_includes_the_time_left(process, tmp_path, capsys):
    process()
    scheduler_of(study_of(), tmp_path).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.split()[:2] for line in lines] == [
        [f"[{number}/6]", f"{label}{',' * (number > 1)}"]
        for number, label in enumerate(LABELS, start=1)
    ]
    assert all(line.endswith("left for all") for line in lines[1:])


def test_only_picks_cells_and_the_others_are_missing(process, tmp_path):
    fake = process()
    grid = scheduler_of(study_of(only="*-vae_*-s1, *gru_lm*s0"), tmp_path).run()
    assert fake.ordered == [LABELS[1], LABELS[3], LABELS[4]]
    assert list(grid.missing) == [LABELS[0], LABELS[2], LABELS[5]]
    assert set(grid.missing.values()) == {"not run (not finished)"} and grid.failed == 0


def test_cells_finished_before_are_in_the_table_of_a_study_that_picks_others(process, tmp_path):
    process()
    scheduler_of(study_of(only="*s1"), tmp_path).run()
    assert len(scheduler_of(study_of(only="*s0"), tmp_path).run().results) == 6


def test_a_pattern_that_fits_no_cell_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'ptb-.' matches none of grammar-vae_gru"):
        scheduler_of(study_of(only="ptb-*"), tmp_path)


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
    fake = process({LABELS[0]: [status]})
    grid = scheduler_of(study_of(), tmp_path).run()
    assert fake.ordered == LABELS and grid.missing == {LABELS[0]: reason} and grid.failed == 1


def test_a_process_that_ends_after_some_of_its_cells_is_started_for_the_others(process, tmp_path):
    fake = process({LABELS[2]: [-signal.SIGKILL]}, together=4)
    grid = scheduler_of(study_of(together=4), tmp_path).run()
    assert fake.ordered == [LABELS[0], LABELS[2], LABELS[4]] and len(grid.results) == 6


def cell_folder(folder, label):
    (found,) = [path for path in (folder / "cells").iterdir() if path.name.startswith(label)]
    return found


def test_a_damaged_cell_is_set_aside_reported_and_trained_again(process, tmp_path, capsys):
    process()
    scheduler_of(study_of(), tmp_path).run()
    folder = cell_folder(tmp_path, LABELS[3])
    (folder / "metrics.jsonl").write_text("something else")
    fake = process()
    grid = scheduler_of(study_of(), tmp_path).run()
    assert fake.ordered == [LABELS[3]] and fake.orders[0].cells[0].train
    assert len(grid.results) == 6 and grid.failed == 0
    assert f"{folder.name} is damaged: metrics.jsonl has changed" in capsys.readouterr().out
    aside = folder.with_name(f"{folder.name}.damaged-1")
    assert (aside / "metrics.jsonl").read_text() == "something else"


def test_a_damaged_cell_that_is_not_picked_is_not_averaged_in(process, tmp_path):
    process()
    scheduler_of(study_of(), tmp_path).run()
    (cell_folder(tmp_path, LABELS[3]) / "metrics.jsonl").write_text("something else")
    grid = scheduler_of(study_of(only="*gru_lm*"), tmp_path).run()
    assert list(grid.missing) == [LABELS[3]] and "metrics.jsonl" in grid.missing[LABELS[3]]


def test_a_cell_with_a_damaged_result_is_evaluated_again_but_not_trained(process, tmp_path, capsys):
    process()
    scheduler_of(study_of(), tmp_path).run()
    folder = cell_folder(tmp_path, LABELS[0])
    (folder / EVALUATION).write_text("{}")
    fake = process()
    grid = scheduler_of(study_of(), tmp_path).run()
    assert [cell.train for order in fake.orders for cell in order.cells] == [False]
    assert len(grid.results) == 6
    assert f"{folder.name} is evaluated again" in capsys.readouterr().out


def test_other_evaluation_settings_evaluate_again(process, tmp_path):
    process()
    scheduler_of(study_of(), tmp_path).run()
    config = study_of()
    config.run.evaluation.iw_samples = 500
    fake = process()
    assert scheduler_of(config, tmp_path).run().results[0].metrics["iw_samples"] == 500
    assert [order.cells[0].train for order in fake.orders] == [False] * 6


def test_a_cell_found_damaged_while_it_goes_on_is_trained_again_once(process, tmp_path, capsys):
    fake = process({LABELS[0]: ["damaged"], LABELS[2]: ["damaged", "damaged"]})
    grid = scheduler_of(study_of(), tmp_path).run()
    assert sorted(fake.ordered) == sorted([*LABELS, LABELS[0], LABELS[2]])
    assert grid.missing == {LABELS[2]: "damaged"} and grid.failed == 1
    assert capsys.readouterr().out.count("is damaged: damaged. It is now") == 2
    aside = [path.name for path in (tmp_path / "cells").iterdir() if "damaged" in path.name]
    assert len(aside) == 2
