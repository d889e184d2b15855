"""The page of a study: one file, escaped, with every figure in it."""

import base64
import re

from tests.helpers.finished_cells import CYCLIC, LM, result_of
from vaetx_jax.reports.tables import StudyTable
from vaetx_jax.study.html_report import write_html

TABLE = StudyTable(
    title="A < B & C",
    columns=("model", "ptb PPL\n(50 epochs)"),
    rows=[{"model": "x", "ppl": 1.5}],
    shown=[["x|y", "**1.50**\n*2.50*"], ["<script>", "–"]],
    notes=["`ppl_rec` is a figure, 3 < 4."],
)


PNG = b"\x89PNG\r\n\x1a\n not much of one"


def test_the_page_is_one_file_that_needs_nothing_else(tmp_path):
    result = result_of(tmp_path, *CYCLIC)
    (result.folder / "samples").mkdir(parents=True)
    (result.folder / "samples" / "step-10.md").write_text("a <b> & <c>")
    for path in (tmp_path / "rate.png", result.folder / "latent.png"):
        path.write_bytes(PNG)
    heading = ("Rate & <distortion>", tmp_path / "rate.png")
    page = write_html(tmp_path / "report.html", "A <title>", [TABLE], [heading], [result])
    text = page.read_text()
    sources = re.findall(r'src="([^"]*)"', text)
    assert [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources] == [
        PNG
    ] * 2
    assert not re.search(r"https?:|href|url\(|@import|<script|<link|<iframe", text)
    for escaped in ("A &lt;title&gt;", "&lt;script&gt;", "a &lt;b&gt; &amp; &lt;c&gt;"):
        assert escaped in text
    assert "<b>1.50</b><br><i>2.50</i>" in text and "<code>ppl_rec</code>" in text
    assert f"<summary>{result.cell.label}: ppl_rec 70.00" in text


def test_the_page_of_a_language_model_names_no_latent_figures(tmp_path):
    page = write_html(tmp_path / "r.html", "T", [TABLE], [], [result_of(tmp_path, *LM)])
    assert "ppl_elbo 75.00</summary>" in page.read_text()


def test_a_figure_that_was_not_finite_is_a_dash(tmp_path):
    result = result_of(tmp_path, *CYCLIC, kl=None, mi=None, ppl_elbo=None)
    page = write_html(tmp_path / "r.html", "T", [TABLE], [], [result])
    assert "ppl_rec 70.00, ppl_elbo –, KL –, MI –, 5 active units</summary>" in page.read_text()
