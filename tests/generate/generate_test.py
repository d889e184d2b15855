"""`python -m vaetx_jax.generate`: what each verb puts out, and what it says of bad input."""

import gzip
import io
import json
import os
import sys

import numpy as np
import pytest
from absl import flags

from vaetx_jax import command_line
from vaetx_jax.data.fields import Fields
from vaetx_jax.errors import UserError
from vaetx_jax.generate import __main__, vector_files
from vaetx_jax.inference.loading import load

LINES = ["i love this soup", "", "you will watch a bad storm", "the chefs were happy 🎉"]


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture
def command(monkeypatch, capsys, trained, model):
    """Runs the command in this process: (exit status, output, errors)."""

    def run(*arguments, stdin=b"", workdir=trained):
        values = flags.FlagValues()
        __main__.define_flags(values)
        values.set_gnu_getopt(True)
        monkeypatch.setattr(flags, "FLAGS", values)
        if workdir == trained:  # loaded already
            monkeypatch.setattr(__main__, "load", lambda folder, checkpoint: model)
        else:
            monkeypatch.undo()
            monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            left = command_line._parse(["generate", f"--workdir={workdir}", *arguments], words=True)
            status = command_line._guarded(lambda: __main__.main(left[1:]))
        except SystemExit as stopped:
            status = stopped.code
        out, errors = capsys.readouterr()
        return status, out, errors

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path


def test_sample_puts_out_so_many_lines(command, model):
    status, out, _ = command("sample", "--count=3", "--seed=4")
    assert status == 0
    assert out.splitlines() == model.sample(3, seed=4)


def test_reconstruct_takes_words_a_file_or_standard_input(command, model, file):
    expected = model.reconstruct(LINES)
    assert command("reconstruct", *LINES)[1].splitlines() == expected
    assert command("reconstruct", f"--input={file}")[1].splitlines() == expected
    packed = file.with_name("in.txt.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert command("reconstruct", f"--input={packed}")[1].splitlines() == expected
    assert command("reconstruct", stdin=file.read_bytes())[1].splitlines() == expected


def test_words_may_stand_before_and_after_flags(command, model):
    _, out, _ = command("reconstruct", LINES[0], "--seed=1", LINES[2])
    assert out.splitlines() == model.reconstruct([LINES[0], LINES[2]])


def test_json_lines_go_in_and_come_out(command, model):
    stdin = b'"i love this soup"\n{"text": "the chefs", "id": 7}\n'
    arguments = ("reconstruct", "--format=jsonl", "--input_format=jsonl")
    records = [json.loads(line) for line in command(*arguments, stdin=stdin)[1].splitlines()]
    backs = model.reconstruct(["i love this soup", "the chefs"])
    assert records == [
        {"line": 1, "text": "i love this soup", "reconstruction": backs[0]},
        {"line": 2, "text": "the chefs", "reconstruction": backs[1]},
    ]


def test_analogy_over_sets_moves_each_sentence_by_the_step_between_their_means(
    command, model, tmp_path
):
    sets = {"from": LINES[:1], "to": LINES[2:]}
    for name, lines in sets.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    ends = [f"--{name}={tmp_path / name}" for name in sets]
    status, out, _ = command("analogy", *ends, "--strength=1.5", LINES[0], LINES[3])
    assert status == 0
    mean = {name: model.encode(lines)[0].mean(axis=0) for name, lines in sets.items()}
    z = model.encode([LINES[0], LINES[3]])[0] + 1.5 * (mean["to"] - mean["from"])
    assert out.splitlines() == model.decode(z)
    assert (
        command("analogy", ends[0], LINES[0])[2]
        .strip()
        .endswith("analogy over sets needs both --from=FILE and --to=FILE")
    )
    words = "--from goes with analogy over sets, not with reconstruct"
    assert words in command("reconstruct", *ends, LINES[0])[2]


def test_the_sets_of_an_analogy_may_be_data_sets_of_the_hub_and_no_other_url(command, monkeypatch):
    status, _, errors = command("analogy", "--from=a.txt", "--to=gs://bucket/b.txt", LINES[0])
    assert status == 2 and "--to = 'gs://bucket/b.txt': gs:// cannot be read" in errors
    values = flags.FlagValues()
    __main__.define_flags(values)
    values(["generate", "--to=hf://me/praise"])
    monkeypatch.setattr(flags, "FLAGS", values)
    command_line._expand_paths()
    assert command_line._with_folders(lambda: values.to == "hf://me/praise")()


def test_blank_lines_are_no_sentences_of_a_set_or_a_corpus(command, model, tmp_path):
    for name, lines in (("from", LINES[:1]), ("to", LINES[2:])):
        (tmp_path / name).write_text("\n \n".join(lines) + "\n\n\n", encoding="utf-8")
    ends = [f"--{name}={tmp_path / name}" for name in ("from", "to")]
    _, out, _ = command("analogy", *ends, LINES[0])
    assert out.splitlines() == model.steer(LINES[:1], LINES[:1], LINES[2:])
    arguments = ("neighbours", f"--corpus={tmp_path / 'to'}", "--format=jsonl", "")
    (record,) = map(json.loads, command(*arguments)[1].splitlines())
    assert {near["line"] for near in record["neighbours"]} == {1, 3}


def test_steering_between_single_sentences_is_an_analogy(model):
    a, b, c = LINES[0], LINES[2], LINES[3]
    assert model.steer([c], [a], [b]) == [model.analogy(a, b, c)]
    with pytest.raises(UserError, match="start: no sentence"):
        model.steer([c], [], [b])


def test_interpolate_takes_pairs(command, model):
    _, out, _ = command("interpolate", LINES[0], LINES[2], "--steps=3")
    assert out.splitlines() == model.interpolate(LINES[0], LINES[2], 3)
    pairs = f"{LINES[0]}\t{LINES[2]}\n{LINES[2]}\t{LINES[0]}\n".encode()
    _, out, _ = command("interpolate", "--steps=3", "--path=spherical", stdin=pairs)
    first, second = out.split("\n\n")
    assert first.splitlines() == model.interpolate(LINES[0], LINES[2], 3, path="spherical")
    assert len(second.splitlines()) == 3


def test_analogy_takes_three(command, model):
    three = [LINES[0], LINES[2], LINES[3]]
    assert command("analogy", *three)[1].splitlines() == [model.analogy(*three)]


def test_neighbours_finds_the_lines_of_a_file(command, model, file, monkeypatch):
    monkeypatch.setattr("vaetx_jax.generate.tasks.WINDOW", 3)  # the corpus comes in two parts
    arguments = ("neighbours", LINES[2], f"--corpus={file}", "--k=2", "--format=jsonl")
    (record,) = [json.loads(line) for line in command(*arguments)[1].splitlines()]
    assert record["neighbours"][0]["line"] == 3
    assert record["neighbours"][0]["text"] == LINES[2]
    rows = model.neighbours([LINES[2]], LINES, 2).rows_QxK[0]
    assert [n["line"] for n in record["neighbours"]] == (rows + 1).tolist()
    assert LINES[2] in command(*arguments[:-1])[1]


@pytest.mark.parametrize("name", ["in.tsv", "in.csv"])
def test_headings_and_labels_are_no_sentences(command, file, name):
    table = file.with_name(name)
    separator = "\t" if name == "in.tsv" else ","
    rows = ["text,label".replace(",", separator), *(f"{line}{separator}x" for line in LINES)]
    table.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    plain, same = (command("reconstruct", f"--input={path}")[1] for path in (file, table))
    assert same == plain
    found = [
        json.loads(command("neighbours", LINES[2], f"--corpus={path}", "--format=jsonl")[1])
        for path in (file, table)
    ]
    plain, same = ([n["text"] for n in record["neighbours"]] for record in found)
    assert same == plain


def test_a_file_is_read_by_the_columns_of_the_runs_own_corpus(command, model, file, monkeypatch):
    monkeypatch.setattr(type(model.run), "fields", Fields("review", ("stars",)))
    table = file.with_name("in.csv")
    rows = ["stars,review,text", *(f"5,{line},other" for line in LINES)]
    table.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for arguments in (("reconstruct",), ("neighbours", f"--corpus={table}")):
        plain, same = (command(*arguments, f"--input={path}")[1] for path in (file, table))
        assert same.replace(str(table), str(file)) == plain
    start = file.with_name("start.txt")
    start.write_text(f"{LINES[0]}\n", encoding="utf-8")
    steered = model.steer(LINES[:1], LINES[:1], [line for line in LINES if line])
    _, out, _ = command("analogy", f"--from={start}", f"--to={table}", LINES[0])
    assert out.splitlines() == steered
    chosen = command("reconstruct", f"--input={table}", "--text_column=text")[1]
    assert chosen.splitlines() == model.reconstruct(["other"] * len(LINES))


def test_score_says_bounds_and_what_was_counted(command, model):
    _, out, _ = command("score", LINES[0], "--iw_samples=2")
    heading, line = out.splitlines()
    scores = model.score([LINES[0]], iw_samples=2)
    fields = dict(zip(heading.split("\t"), line.split("\t"), strict=True))
    assert float(fields["elbo"]) == pytest.approx(scores.elbo_N[0], abs=1e-3)
    assert float(fields["iw"]) == pytest.approx(scores.iw_N[0], abs=1e-3)
    assert (fields["words"], fields["sentence"]) == ("4", LINES[0])


def test_encode_puts_out_json_that_reads_back_the_same(command, model):
    _, out, _ = command("encode", "--format=jsonl", *LINES)
    mean, std = model.encode(LINES)
    records = [json.loads(line) for line in out.splitlines()]
    np.testing.assert_array_equal(np.float32([r["mean"] for r in records]), mean)
    np.testing.assert_array_equal(np.float32([r["std"] for r in records]), std)


def test_encode_streams_into_npy(command, model, file, tmp_path, monkeypatch):
    monkeypatch.setattr("vaetx_jax.generate.tasks.WINDOW", 3)
    status, out, errors = command("encode", f"--input={file}", f"--output={tmp_path / 'z.npy'}")
    assert (status, out) == (0, "") and "4 rows" in errors
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), model.encode(LINES)[0], atol=2e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "z.npy"]


def test_encode_streams_into_parquet(command, model, file, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("vaetx_jax.generate.tasks.WINDOW", 3)
    path = tmp_path / "z.parquet"
    assert command("encode", f"--input={file}", f"--output={path}")[0] == 0
    table = parquet.read_table(path)
    mean, std = model.encode(LINES)
    assert table["line"].to_pylist() == [1, 2, 3, 4]
    # A window of one sentence is rounded otherwise than a batch.
    np.testing.assert_allclose(table["mean"].to_pylist(), mean, atol=2e-6)
    np.testing.assert_allclose(table["std"].to_pylist(), std, atol=2e-6)


def test_an_npy_of_no_rows_or_of_very_many_has_the_right_header(tmp_path):
    for rows in (0, 12_345):
        with vector_files.open_npy(tmp_path / "z.npy", 2) as add_rows:
            for start in range(0, rows, 1000):
                part = np.full((min(1000, rows - start), 2), start, np.float32)
                add_rows(np.arange(len(part)), part, part)
        assert np.load(tmp_path / "z.npy").shape == (rows, 2)


def test_without_pyarrow_parquet_is_refused_in_words(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, _, errors = command("encode", "a", f"--output={tmp_path / 'z.parquet'}")
    assert status == 1 and "needs pyarrow; pip install 'vaetx-jax[parquet]'" in errors


BROKEN = {
    "not UTF-8": (b"fine\n\xff\xfe broken\nfine\n", ()),
    "longer than": (b"fine\n" + b"x" * 5_000_000 + b"\nfine\n", ()),
    "not JSON": (b'"fine"\n{"text"\n"fine"\n', ("--input_format=jsonl",)),
    "has no 'text'": (b'"fine"\n{"txt": "a"}\n"fine"\n', ("--input_format=jsonl",)),
    "a text is needed": (b'"fine"\n3\n"fine"\n', ("--input_format=jsonl",)),
    "surrogate": (b'"fine"\n"\\ud800"\n"fine"\n', ("--input_format=jsonl",)),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_line_is_fatal_with_its_number_and_leaves_no_file(command, words, tmp_path):
    stdin, options = BROKEN[words]
    path = tmp_path / "z.npy"
    status, _, errors = command("encode", f"--output={path}", *options, stdin=stdin)
    assert status == 1
    assert "standard input, line 2" in errors and words in errors
    assert "--on_error=skip" in errors and len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_line_is_left_out_where_that_is_wished(command, model, words):
    stdin, options = BROKEN[words]
    arguments = ("reconstruct", "--on_error=skip", "--format=jsonl", *options)
    status, out, errors = command(*arguments, stdin=stdin)
    assert status == 0
    assert [json.loads(line)["line"] for line in out.splitlines()] == [1, 3]
    assert "line 2" in errors and "left out" in errors


def test_a_line_with_too_few_sentences_is_a_broken_line(command):
    status, _, errors = command("analogy", stdin=b"a\tb\tc\na\tb\n")
    assert status == 1 and "line 2: 2 sentences where 3 are needed" in errors


MISTAKES = {
    "the task is missing: give one of sample": (),
    "unknown task 'smaple' .did you mean sample": ("smaple",),
    "analogy takes 3 sentences at a time, not 2": ("analogy", "a", "b"),
    "sample takes no sentences": ("sample", "a"),
    "neighbours needs --corpus": ("neighbours", "a"),
    "--corpus goes with neighbours, not with encode": ("encode", "a", "--corpus=x"),
    "--label goes with sample, not with reconstruct": ("reconstruct", "a", "--label=x"),
    "--count goes with sample, not with reconstruct": ("reconstruct", "a", "--count=3"),
    "--k goes with neighbours, not with sample": ("sample", "--k=3"),
    "--vectors goes with decode, not with sample": ("sample", "--vectors=x.npy"),
    "--strength goes with analogy over sets, not with analogy": ("analogy", "--strength=2"),
    "--beam goes with .*reconstruct.*, not with encode": ("encode", "a", "--beam=3"),
    "--iw_samples goes with score, not with encode": ("encode", "a", "--iw_samples=3"),
    "give one of them": ("encode", "a", "--input=x"),
    "beam search draws": ("sample", "--beam=3", "--temperature=1"),
    "top_p = 2.0: must be": ("sample", "--top_p=2"),
    "Unknown command line flag 'tempature'": ("sample", "--tempature=1"),
    "only encode writes .npy": ("reconstruct", "a", "--output=x.npy"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told_in_one_message_with_status_2(command, words):
    import re

    status, out, errors = command(*MISTAKES[words])
    assert (status, out) == (2, "")
    assert errors.startswith("error: ") and re.search(words, errors)


def test_a_folder_for_the_output_must_be_there(command, tmp_path):
    status, _, errors = command("encode", "a", f"--output={tmp_path / 'no' / 'z.npy'}")
    assert status == 1 and "a folder that exists" in errors


def test_results_are_compressed_where_the_name_says_so(command, tmp_path):
    path = tmp_path / "out.jsonl.gz"
    assert command("reconstruct", LINES[0], f"--output={path}")[0] == 0
    assert json.loads(gzip.decompress(path.read_bytes()))["text"] == LINES[0]


def test_the_name_of_the_output_says_its_format_unless_a_flag_does(command, model, tmp_path):
    plain = model.reconstruct(LINES[:1])[0]
    for name, flag, as_json in (
        ("a.jsonl", (), True),
        ("a.ndjson", (), True),
        ("a.txt", (), False),
        ("a.jsonl", ("--format=text",), False),
        ("a.txt", ("--format=jsonl",), True),
    ):
        assert command("reconstruct", LINES[0], f"--output={tmp_path / name}", *flag)[0] == 0
        written = (tmp_path / name).read_text(encoding="utf-8").rstrip("\n")
        assert (json.loads(written)["reconstruction"] if as_json else written) == plain


def test_a_dash_is_standard_output(command, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = command("reconstruct", LINES[0], "--output=-")
    assert (status, out.splitlines()) == (0, model.reconstruct(LINES[:1]))
    assert not list(tmp_path.iterdir())


def test_a_link_stays_and_the_file_behind_it_is_written(command, model, tmp_path):
    (tmp_path / "link.txt").symlink_to("results.txt")
    assert command("reconstruct", LINES[0], f"--output={tmp_path / 'link.txt'}")[0] == 0
    assert (tmp_path / "link.txt").is_symlink()
    written = (tmp_path / "results.txt").read_text(encoding="utf-8")
    assert written.splitlines() == model.reconstruct(LINES[:1])


def test_a_pipe_is_written_to_and_not_replaced(command, model, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert command("reconstruct", LINES[0], f"--output={path}")[0] == 0
    written = os.read(reader, 10_000).decode("utf-8")
    os.close(reader)
    assert written.splitlines() == model.reconstruct(LINES[:1])
    assert path.is_fifo()


def test_a_file_that_is_not_there_is_told(command, tmp_path):
    status, _, errors = command("encode", f"--input={tmp_path / 'no.txt'}")
    assert status == 1 and "No such file" in errors


def test_a_folder_without_a_run_is_told(command, tmp_path):
    status, _, errors = command("sample", workdir=tmp_path)
    assert status == 1 and "not the work folder of a run" in errors


def test_what_a_terminal_would_obey_is_not_put_out_as_text():
    from vaetx_jax.generate.tasks import one_line

    assert one_line("a\x1b[31m\nb\u2028c\td") == "a [31m b c d"
    assert one_line("שלום 👩‍👧") == "שלום 👩‍👧"
