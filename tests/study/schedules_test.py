"""Figure 8: the schedules are those of training."""

from vaetx_jax.config.study import default_study
from vaetx_jax.losses.annealing import kl_weight
from vaetx_jax.study import schedules


def test_the_schedules_are_those_of_training(tmp_path):
    config = default_study("figure8", "schedules")
    report = schedules.run(config, tmp_path)
    (table,), (figure,) = report.tables, report.figures
    assert figure.path.read_bytes().startswith(b"\x89PNG") and figure.path.name == "figure8.png"
    assert len(table.rows) == 1000
    for number in (0, 1, 99, 100, 150, 199, 200, 555, 999):
        row = table.rows[number]
        assert row["t"] == number / 1000
        for annealing in ("linear", "cyclic"):
            wanted = kl_weight(number, annealing=annealing, total_steps=1000, cycles=5, ratio=0.5)
            assert row[annealing] == float(wanted)
    assert [row["cyclic"] for row in table.rows[:1000:200]] == [0.0] * 5
    assert min(row["cyclic"] for row in table.rows[100:200]) == 1.0
    assert table.shown[3] == ["0.15", f"{table.rows[150]['linear']:.2f}", "1.00"]
