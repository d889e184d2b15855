"""Tables on the screen and in files."""

import json

from vaetx_jax.reports.tables import StudyTable, markdown, print_table, write_tables

TABLE = StudyTable(
    title="A < B & C",
    columns=("model", "ptb PPL\n(50 epochs)"),
    rows=[{"model": "x", "ppl": 1.5}],
    shown=[["x|y", "**1.50**\n*2.50*"], ["<script>", "–"]],
    notes=["`ppl_rec` is a figure, 3 < 4."],
)


def test_the_markdown_has_marks_and_line_breaks(tmp_path):
    paths = write_tables([TABLE, TABLE], tmp_path, "made", [tmp_path / "made-rate.png"])
    text = paths[1].read_text()
    assert "| model | ptb PPL<br>(50 epochs) |\n| --- | ---: |\n" in text
    assert "| x\\|y | **1.50**<br>*2.50* |\n| <script> | – |" in text
    assert text.count("# A < B & C\n") == 2 and "\n\n![made-rate](made-rate.png)\n\n" in text
    written = json.loads(paths[0].read_text())
    assert written["rows"] == TABLE.rows * 2 and written["study"] == "made"
    assert written["made"]["versions"]["python"] in text


def test_the_screen_has_letters_instead_of_marks(capsys):
    print_table(TABLE)
    printed = capsys.readouterr().out
    assert "1.50" in printed and "2.50" in printed and "*" not in printed


def test_cells_with_bars_keep_their_column():
    assert markdown(("a", "b"), [("x|y", "1")]).splitlines()[-1] == r"| x\|y | 1 |"


def test_a_wide_table_is_printed_whole(capsys):
    names = [f"a_column_of_some_length_{i}" for i in range(8)]
    print_table(StudyTable("Wide", names, [], [[f"value-{i}" * 2 for i in range(8)]]))
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert all(f"value-{i}value-{i}" in printed for i in range(8))


def test_results_are_written_whole(tmp_path):
    table = StudyTable("A title", ("name", "n"), [{"name": "x", "n": 1}], [("x", "1")], ["A note."])
    paths = write_tables([table], tmp_path / "new" / "folder", "demo")
    assert [path.name for path in paths] == ["demo.json", "demo.md"]
    assert json.loads(paths[0].read_text())["rows"] == [{"name": "x", "n": 1}]
    assert paths[1].read_text().startswith("# A title\n\n| name | n |\n| --- | ---: |\n| x | 1 |")
    assert "\n\nA note.\n\nMade on " in paths[1].read_text()


def test_brackets_and_colons_of_a_name_are_no_marks_on_the_screen(capsys):
    names = ("[draft]", "[/b]", ":smile:")
    print_table(StudyTable(" ".join(names), names, [], [names]))
    printed = capsys.readouterr().out
    assert all(printed.count(name) == 3 for name in names)
