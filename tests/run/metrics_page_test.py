"""The page of `--metrics_port`: what it says, and that it never stops a run."""

import json
import urllib.error
import urllib.request

import pytest

from vaetx_jax.run import metrics_page
from vaetx_jax.run.metrics_page import page_of, read_folders, serving
from vaetx_jax.run.status import RunStatus

ROW = {"step": 40, "train/loss": 61.5, "train/kl": 2.5, "perf/tokens_per_second": 900.0}


def status(**changes) -> RunStatus:
    facts = {"name": "ptb", "state": "running", "step": 40, "numbers": {}, "owner": ""}
    return RunStatus(**{**facts, "saved_step": None, "saved_at": None, **changes})


def ask(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def test_the_page_has_the_numbers_of_the_run_s_files(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "30").mkdir(parents=True)
    (folder / "checkpoints" / "30" / "manifest.json").write_text("{}")
    (folder / "metrics.jsonl").write_text(json.dumps(ROW) + "\n")
    with serving(0, "127.0.0.1", lambda: read_folders([folder])) as port:
        page = ask(port, "/metrics")
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    saved = lines.pop('vaetx_seconds_since_save{run="run"}')
    assert lines == {
        'vaetx_step{run="run"}': "40",
        'vaetx_loss{run="run"}': "61.5",
        'vaetx_kl{run="run"}': "2.5",
        'vaetx_tokens_per_second{run="run"}': "900",
    }
    assert float(saved) >= 0
    assert "# TYPE vaetx_loss gauge" in page


def test_a_number_that_a_run_does_not_have_has_no_line():
    assert "vaetx_kl{" not in page_of([status(numbers={"train/loss": 1.0})])


def test_several_runs_stand_under_one_heading():
    page = page_of([status(), status(name='odd "name"')])
    assert page.count("# TYPE vaetx_step gauge") == 1
    assert 'vaetx_step{run="odd \\"name\\""} 40' in page


def test_a_port_in_use_is_one_line_and_the_run_goes_on(capsys):
    with serving(0, "127.0.0.1", list) as port, serving(port, "127.0.0.1", list) as second:
        assert second is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"--metrics_port={port}" in lines[0]
    assert "another program has it" in lines[0] and "goes on" in lines[0]


def test_what_cannot_be_read_is_an_answer_and_no_end():
    def broken():
        raise OSError("gone")

    with serving(0, "127.0.0.1", broken) as port:
        with pytest.raises(urllib.error.HTTPError, match="503"):
            ask(port, "/metrics")
        assert ask(port, "/healthz") == "ok\n"


def test_without_a_port_nothing_listens(monkeypatch):
    monkeypatch.setattr(metrics_page.http.server, "ThreadingHTTPServer", None)
    with serving(None, "127.0.0.1", list) as port:
        assert port is None
