"""What the comparison with PyTorch makes of its measurements; the race itself is not run."""

import pytest

from benchmarks import step_report

MEASURED = {
    "processor": {"processor": "CPU A", "family": "6/1", "cores": 2, "vectors": "avx2", "l3_mb": 8},
    "model": "vae_lstm",
    "dim": 128,
    "what": "train",
    "precision": "float32",
    "seconds": {"ours": 0.5, "eager_padded": 1.5},
    "others": 0.02,
    "ratios": {"eager_padded": step_report.ratio([1.0, 2.0], [0.5, 0.5])},
    "matmul_gflops": 100.0,
    "matmul_share": 0.4,
    "peak_memory_mb": {"ours": 400.0, "eager_padded": 500.0},
}


def test_a_ratio_is_the_median_over_the_rounds_and_not_of_the_medians():
    found = step_report.ratio([1.0, 4.0, 9.0], [1.0, 2.0, 1.0])
    assert (found["median"], found["total"]) == (2.0, 3.5)
    assert found["quarter"] < found["median"] < found["three_quarters"]


def test_the_report_has_seconds_ratio_memory_and_the_share_of_the_products_rate():
    lines = step_report.report(MEASURED).splitlines()
    assert lines[2].split()[:4] == ["eager_padded", "1.500", "s", "3.00x"]
    assert lines[2].endswith("500 MB  0.80")
    assert lines[-1].startswith("40% of 100 GFLOP/s")


def test_under_the_load_of_others_the_report_gives_no_ratio_and_says_why():
    text = step_report.report(MEASURED | {"others": 0.4, "ratios": {}, "matmul_share": None})
    assert "x (" not in text
    assert "no ratios: others took 40% of the processor" in text


@pytest.mark.parametrize(
    "changed, name",
    [
        ({}, "train_step-vae_lstm-cpu-a-6-1-2-cores.json"),
        ({"what": "evaluation"}, "train_step-vae_lstm-evaluation-cpu-a-6-1-2-cores.json"),
        ({"dim": 1024}, "train_step-vae_lstm-d1024-cpu-a-6-1-2-cores.json"),
        ({"precision": "bfloat16"}, "train_step-vae_lstm-bfloat16-cpu-a-6-1-2-cores.json"),
    ],
)
def test_each_measurement_of_a_processor_has_a_file_of_its_own(changed, name):
    assert step_report.file_name(MEASURED | changed) == name
