"""What the explorer computes, of which sentences, and its pictures; without a page."""

import copy
import dataclasses
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inference.text_model_test import language_model  # noqa: F401  # a fixture
from vaetx_jax.errors import UserError
from vaetx_jax.explore import session as session_lib
from vaetx_jax.explore.__main__ import open_session
from vaetx_jax.explore.figures import (
    CLASS_WIDTH,
    PANELS,
    TEXT_WIDTH,
    axis_names,
    curve_figure,
    map_traces,
    rings,
)
from vaetx_jax.explore.sentences import Label, Sentences, read_sentences
from vaetx_jax.explore.session import (
    DIRECTIONS,
    NEIGHBOURS,
    SAMPLES,
    STEPS,
    VIEWS,
    Session,
    SupersededError,
    Turns,
)
from vaetx_jax.inference.latent_prior import LatentPrior
from vaetx_jax.inference.loading import load

MARKUP = "<b>bold</b> & <img src=x onerror=alert(1)>"
LIMIT = 30


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def session(model):
    return open_session(model, split="test", file=None, limit=LIMIT)


# What it computes.


def test_neighbours_are_the_models_without_the_sentence_itself(model, session):
    texts = session.sentences.texts
    expected = model.neighbours([texts[3]], session.mean_NxZ, LIMIT).rows_QxK[0]
    found = session.describe_row(3, metric="cosine").neighbours
    assert [near.row for near in found] == [row for row in expected if row != 3][:NEIGHBOURS]
    assert [near.text for near in found] == [texts[near.row] for near in found]


def test_the_metric_of_nearness_is_chosen(model, session):
    texts = session.sentences.texts
    expected = model.neighbours([texts[0]], session.mean_NxZ, LIMIT, metric="euclidean")
    scores = [near.score for near in session.describe_row(0, metric="euclidean").neighbours]
    np.testing.assert_allclose(scores, expected.scores_QxK[0][1 : NEIGHBOURS + 1], rtol=1e-5)


def test_a_sentence_is_reconstructed_as_the_model_does(model, session):
    chosen = session.describe_text("i love this soup", metric="cosine")
    assert [chosen.reconstruction] == model.reconstruct(["i love this soup"])
    assert chosen.row is None


def test_samples_are_those_of_the_models_own_prior(session):
    far = LatentPrior(np.ones(1), np.full((1, 4), 50.0), np.eye(4)[None])
    model = dataclasses.replace(session.model, prior=far)
    fitted = copy.copy(session)
    fitted.model = model
    for one in (session, fitted):
        expected = one.model.sample(SAMPLES, seed=4, temperature=0.5)
        assert one.sample(temperature=0.5, seed=4) == expected
    assert fitted.sample(temperature=0.5, seed=4) != session.sample(temperature=0.5, seed=4)


def test_a_typed_sentence_lies_where_the_same_one_of_the_map_lies(session):
    typed = session.describe_text(session.sentences.texts[5], metric="cosine")
    np.testing.assert_allclose(typed.point_2, session.points_Nx2[5], atol=1e-6)
    assert typed.neighbours[0].score == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_path_is_the_models_interpolation(model, session, kind):
    a, b = "i love this soup", "you will watch a bad storm"
    steps, notes = session.path(a, b, kind=kind)
    assert steps == model.interpolate(a, b, STEPS, path=kind)
    assert notes == []


def test_directions_go_from_the_middle_in_standard_deviations(model, session):
    mean = session.mean_NxZ.astype(np.float64)
    _, _, axes = np.linalg.svd(mean - mean.mean(axis=0, keepdims=True))
    axis = axes[0] * np.sign(axes[0][np.argmax(np.abs(axes[0]))])
    along = ((mean - mean.mean(axis=0, keepdims=True)) @ axis).std()
    expected = model.decode((mean.mean(axis=0) + 2 * along * axis)[None])
    assert session.move_along("", [2.0, 0.0]) == (expected[0], [])


def test_directions_may_start_from_a_sentence(model, session):
    text, _ = session.move_along("the chefs were happy", [0.0] * session.directions)
    assert [text] == model.reconstruct(["the chefs were happy"])


def test_there_are_no_more_directions_than_dimensions(model, session):
    assert session.directions == min(DIRECTIONS, model.latent_dim)


def test_samples_are_the_same_for_a_seed_and_differ_for_another(session):
    first = session.sample(temperature=1.0, seed=4)
    assert first == session.sample(temperature=1.0, seed=4)
    assert first != session.sample(temperature=1.0, seed=5)


def test_words_are_found_whatever_their_case_and_order(model):
    texts = ["The soup is hot", "hot storm", "a soup, hot", "nothing"]
    session = Session(model, Sentences(texts, {}, ""))
    assert session.search("HOT soup") == ([0, 2], 2)
    assert session.search("  ") == ([], 0)


def test_only_the_first_of_many_finds_are_given_and_all_are_counted(model):
    session = Session(model, Sentences(["soup"] * 40, {}, ""))
    assert session.search("soup") == (list(range(session_lib.MAX_FOUND)), 40)


def test_long_input_is_cut_and_said_so(session):
    text, notes = session.clean("storm " * 2_000, "a sentence")
    assert len(text) == session_lib.MAX_CHARACTERS
    assert "characters" in notes[0]
    assert "tokens" in notes[1]


def test_what_the_vocabulary_lacks_is_said(session):
    assert session.clean("i love this soup", "a sentence")[1] == []
    _, (note,) = session.clean("i love this \u6c64 \u6c64", "a sentence")
    assert note.startswith("Not in the vocabulary, and read as [UNK]: 2 of ")


def test_the_tokens_that_are_counted_are_those_that_the_encoder_reads(model):
    letters = SimpleNamespace(encode=lambda texts: [list(range(len(texts[0])))], unk_id=0)
    tokenizers = dataclasses.replace(model.run.tokenizers, read=letters)
    run = dataclasses.replace(model.run, tokenizers=tokenizers)
    session = Session(dataclasses.replace(model, run=run), Sentences((), {}, ""))
    _, notes = session.clean("s" * 50, "a sentence")
    assert notes == [
        "50 tokens, and the model reads 38: the rest was cut.",
        "Not in the vocabulary, and read as [UNK]: 1 of 38 tokens.",
    ]


@pytest.mark.parametrize(("text", "words"), [(None, "first"), ("  ", "first"), ("\ud800", "again")])
def test_input_that_is_no_sentence_is_refused(session, text, words):
    with pytest.raises(UserError, match=f"Type a sentence {words}"):
        session.describe_text(text, metric="cosine")


def test_a_row_that_is_none_is_refused(session):
    with pytest.raises(UserError, match="no such sentence"):
        session.describe_row(LIMIT, metric="cosine")


def test_a_waiting_question_is_overtaken_by_the_next_of_its_control(monkeypatch):
    turns, outcomes, counted = Turns(), [], threading.Semaphore(0)
    count = turns._count
    monkeypatch.setattr(turns, "_count", lambda control: (count(control), counted.release())[0])

    def question(name, control):
        try:
            with turns.turn(control):
                outcomes.append((name, "answered"))
        except SupersededError:
            outcomes.append((name, "superseded"))

    asked = [("old", "slider"), ("other", "another"), ("new", "slider")]
    threads = [threading.Thread(target=question, args=one) for one in asked]
    with turns.turn(None):
        counted.acquire()
        for thread in threads:  # each waits for the device before the next one asks
            thread.start()
            counted.acquire()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [("new", "answered"), ("old", "superseded"), ("other", "answered")]


# Which sentences.


def test_a_sample_of_a_split_is_bounded_and_the_same_every_time(model):
    here, again = (read_sentences(model.run, split="train", file=None, limit=20) for _ in range(2))
    assert here.texts == again.texts
    assert len(here.texts) == 20
    assert here.origin == "20 of the 200 sentences of grammar's train split, drawn at random."


def test_one_sentence_is_not_called_many(model, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("i love this soup\n", encoding="utf-8")
    open_session(model, split="test", file=f"{tmp_path}/mine.txt", limit=5)
    said = capsys.readouterr().out
    assert said == f"The only sentence of {tmp_path}/mine.txt.\nencoding 1 sentence ...\n"


def test_a_sentence_keeps_its_labels(model):
    rows = model.run.corpus.split("test")
    there = {row.text: row.labels for row in rows}
    sentences = read_sentences(model.run, split="test", file=None, limit=10)
    assert set(sentences.labels) == set(model.run.corpus.label_fields)
    for field, label in sentences.labels.items():
        classes = [there[text][field] for text in sentences.texts]
        assert label.classes_N.tolist() == classes
        assert label.name_of(0) == label.names[classes[0]]


def test_a_sample_of_a_file_is_spread_over_it(model, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"sentence {i}\n\n" for i in range(1_000)), encoding="utf-8")
    sentences = read_sentences(model.run, split="test", file=str(path), limit=50)
    numbers = [int(text.split()[1]) for text in sentences.texts]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 50
    assert 300 < np.mean(numbers) < 700
    assert sentences.origin.startswith("50 of the 1,000 sentences of")


def test_the_heading_and_labels_of_a_file_are_not_shown(model, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("label,text\nx,one\ny,two\n", encoding="utf-8")
    sentences = read_sentences(model.run, split="test", file=str(path), limit=5)
    assert sentences.texts == ["one", "two"]


def test_a_file_that_cannot_be_read_is_told(model, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.txt"):
        read_sentences(model.run, split="test", file=str(tmp_path / "none.txt"), limit=5)


def test_a_corpus_that_has_gone_can_be_replaced_by_a_file(model, monkeypatch):
    def gone(self):
        raise UserError("sentences.txt is missing. Check the path.")

    monkeypatch.setattr(type(model.run), "corpus", property(gone))
    with pytest.raises(UserError, match=r"Check the path \(or give --sentences=FILE"):
        read_sentences(model.run, split="test", file=None, limit=5)


def test_a_language_model_is_refused(language_model):  # noqa: F811
    with pytest.raises(UserError, match="explore needs a latent"):
        open_session(language_model, split="test", file=None, limit=5)


# Pictures.


def test_a_point_of_the_map_is_the_row_it_says(session):
    field = next(iter(session.sentences.labels))
    label, seen = session.sentences.labels[field], []
    for trace in map_traces(session, field):
        for row, x in zip(trace["customdata"], trace["x"], strict=True):
            assert x == session.points_Nx2[row, 0]
            assert label.name_of(row) == trace["name"]
            seen.append(row)
    assert sorted(seen) == list(range(LIMIT))


def test_the_second_view_has_the_same_rows_elsewhere(session):
    first, second = (map_traces(session, "", view) for view in VIEWS)
    assert first[0]["customdata"] == second[0]["customdata"]
    assert first[0]["x"] != second[0]["x"]
    assert axis_names(session, VIEWS[1])[0].startswith("t-SNE")


def test_in_the_second_view_a_typed_sentence_lies_where_its_nearest_lies(session):
    typed = session.describe_text(session.sentences.texts[3], metric="cosine")
    mapped = session.describe_row(3, metric="cosine")
    for view in VIEWS:
        typed_2, mapped_2 = session.point(typed, view), session.point(mapped, view)
        np.testing.assert_allclose(typed_2, mapped_2, atol=1e-6)
    np.testing.assert_array_equal(session.point(mapped, VIEWS[1]), session.points(VIEWS[1])[3])


def test_the_ring_of_a_mapped_sentence_is_round_its_point_exactly(session):
    mapped = session.describe_row(3, metric="cosine")
    rounded = mapped._replace(point_2=mapped.point_2 + 1e-6)  # it was encoded in another batch
    np.testing.assert_array_equal(session.point(rounded, VIEWS[0]), session.points_Nx2[3])
    assert rings(rounded, session, VIEWS[0])[-1]["xanchor"] == session.points_Nx2[3, 0]


def test_sentences_without_a_label_are_a_class_of_their_own(model):
    labels = {"mood": Label(("good", "bad"), np.array([1, -1, 0]))}
    session = Session(model, Sentences(["a", "b", "c"], labels, ""))
    assert [t["name"] for t in map_traces(session, "mood")] == ["good", "bad", "no label"]


def test_rare_classes_of_very_many_are_one(model):
    labels = {"word": Label(tuple(map(str, range(30))), np.arange(30))}
    session = Session(model, Sentences([f"w{i}" for i in range(30)], labels, ""))
    traces = map_traces(session, "word")
    assert traces[-1]["name"] == "10 others"
    assert sum(len(trace["x"]) for trace in traces) == 30


def test_markup_in_a_sentence_is_shown_as_text_on_the_map(model):
    session = Session(model, Sentences([MARKUP, "a"], {}, ""))
    (trace,) = map_traces(session, "")
    shown = "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;img src=x<br>onerror=alert(1)&gt;"
    assert trace["hovertext"][0] == shown


def test_long_names_and_texts_leave_room_for_the_map(model):
    texts, names = ["word " * 200, "\u6c64" * 100], ("a class " * 9, "\u7c7b" * 30)
    session = Session(model, Sentences(texts, {"kind": Label(names, np.arange(2))}, ""))
    latin, chinese = map_traces(session, "kind")
    assert latin["name"] == "a class a class a class…" and len(latin["name"]) <= CLASS_WIDTH
    assert chinese["name"] == "\u7c7b" * (CLASS_WIDTH // 2 - 1) + "…"  # twice as wide
    assert max(map(len, latin["hovertext"][0].split("<br>"))) <= TEXT_WIDTH
    assert chinese["hovertext"][0].split("<br>") == ["\u6c64" * (TEXT_WIDTH // 2)] * 5


def test_two_classes_of_one_colour_are_told_apart_by_their_symbols(model):
    label = Label(tuple("abcdefgh"), np.arange(8))
    traces = map_traces(Session(model, Sentences(list("abcdefgh"), {"kind": label}, "")), "kind")
    first, last = traces[0]["marker"], traces[7]["marker"]
    assert first["color"] == last["color"]
    assert (first["symbol"], last["symbol"]) == ("circle", "x")


def test_one_sentence_has_no_share_of_a_variance(model):
    assert axis_names(Session(model, Sentences(["a"], {}, "")), VIEWS[0]) == ("axis 1", "axis 2")


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((4.0, 39.0), None),  # of one order of magnitude
        ((5.1, 90.0), [10, 20, 50]),
        ((2.0, 3e6), [10, 100, 1e3, 1e4, 1e5, 1e6]),
        ((1.0, 1e20), [1, 1e3, 1e6, 1e9, 1e12, 1e15, 1e18]),
    ],
)
def test_the_ticks_of_a_logarithmic_scale_do_not_lie_on_each_other(values, ticks):
    (panel,) = [panel for panel in PANELS if panel.log]
    rows = [{"step": step, "train/ppl_elbo": value} for step, value in enumerate(values)]
    axis = curve_figure(panel, rows)["layout"]["yaxis"]
    assert axis.get("tickvals") == (ticks and pytest.approx(ticks))
    assert axis.get("type") == (ticks and "log")


def test_long_curves_are_thinned():
    rows = [{"step": i, "train/kl": 1.0} for i in range(5_000)]
    panel = next(panel for panel in PANELS if panel.title.startswith("KL,"))
    figure = curve_figure(panel, rows)
    assert len(figure["data"][0]["x"]) == 1_000
    assert curve_figure(panel, [{"step": 1, "train/kl": None}]) is None
