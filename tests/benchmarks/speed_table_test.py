"""The table of training speeds: every result has its row, and the documentation its worst ratio."""

import copy
import pathlib

import pytest

from benchmarks import speed_table

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = speed_table.read(speed_table.FOLDER)
IDLE = {
    "processor": {"processor": "CPU A", "family": "6/1", "cores": 2, "vectors": "avx2", "l3_mb": 8},
    "model": "vae_lstm",
    "what": "train",
    "seconds": {"ours": 0.5, "compiled_grouped": 0.6},
    "ratios": {"compiled_grouped": {"median": 1.2}},
    "matmul_share": 0.4,
    "peak_memory_mb": {"ours": 400, "eager_padded": 500},
}


def busy():
    """A result of a machine on which others were busy: no ratio."""
    result = copy.deepcopy(IDLE)
    result["processor"]["processor"] = "CPU B"
    return result | {"ratios": {}, "matmul_share": None}


def test_a_row_has_what_was_measured_and_a_dash_for_what_was_not():
    row = speed_table.table([IDLE]).splitlines()[-1]
    assert (
        row == "| CPU A (6/1), 2 cores, avx2 | `vae_lstm` | 0.500 s | - | - | 1.20x | 40% | 0.80 |"
    )


def test_a_result_without_ratios_has_a_row_and_is_never_the_worst():
    assert "| CPU B" in speed_table.table([IDLE, busy()])
    assert speed_table.worst([IDLE, busy()]) == (1.2, "CPU A (6/1), 2 cores, avx2")


def test_an_evaluation_is_never_the_worst():
    slow = IDLE | {"what": "evaluation", "ratios": {"compiled_grouped": {"median": 0.1}}}
    assert speed_table.worst([IDLE, slow])[0] == 1.2


def test_the_published_table_is_that_of_the_results():
    assert speed_table.table(RESULTS) in (speed_table.FOLDER / "train.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/scale.md"])
def test_the_documentation_quotes_the_worst_processor(page):
    ratio, _ = speed_table.worst(RESULTS)
    assert f"{ratio:.2f} times" in " ".join((ROOT / page).read_text().split())
