"""The explorer without a browser: what it computes, whom it answers, what it says of bad input."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest
from absl import flags
from api_test import language_model  # noqa: F401  # a fixture

from vaetx_jax import command_line, explore, explore_session
from vaetx_jax.api import load
from vaetx_jax.errors import UserError
from vaetx_jax.explore import open_session
from vaetx_jax.explore_figures import PANELS, curve_figure, map_traces
from vaetx_jax.explore_sentences import Label, Sentences, read_sentences
from vaetx_jax.explore_session import DIRECTIONS, NEIGHBOURS, STEPS, OvertakenError, Session, Turns
from vaetx_jax.export import export
from vaetx_jax.writer import METRICS, read_metrics

pytest.importorskip("dash", reason="Dash is not installed: pip install 'vaetx-jax[explore]'")

from vaetx_jax import explore_server

PORT = 7860
HOME = f"http://127.0.0.1:{PORT}"
OUTSIDE = re.compile(r"https?://|[\"'(]//\w")
MARKUP = "<b>bold</b> & <img src=x onerror=alert(1)>"
LIMIT = 30


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def session(model):
    return open_session(model, split="test", file=None, limit=LIMIT)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return load(export(model, tmp_path_factory.mktemp("export") / "model"))


def client_of(session, metrics=()):
    return explore_server.build_app(session, list(metrics), port=PORT).server.test_client()


@pytest.fixture(scope="module")
def client(session, trained):
    return client_of(session, read_metrics(trained / METRICS))


def get(client, path="/", **headers):
    return client.get(path, base_url=HOME, headers=headers)


def ask(client, output, *changed, **values):
    """What a control's change gives: the answer's values by output.

    Args:
      output: the beginning of the callback's outputs.
      changed: `ID.PROPERTY` of all that was touched.
      values: of other inputs, `ID__PROPERTY` with _ for -.
    """
    values = {"metric__value": "cosine"} | values
    known = {name.replace("__", ".").replace("_", "-"): value for name, value in values.items()}
    callbacks = get(client, "/_dash-dependencies").get_json()
    found = next(c for c in callbacks if c["output"].lstrip(".").startswith(output))
    outputs = [
        dict(zip(("id", "property"), name.split("@")[0].rsplit(".", 1), strict=True))
        for name in found["output"].strip(".").split("...")
    ]

    def filled(one):
        if one["id"].startswith("{"):
            return known.get("picks", [])
        value = known.get(f"{one['id']}.{one['property']}")
        return {"id": one["id"], "property": one["property"], "value": value}

    question = {
        "output": found["output"],
        "outputs": outputs if len(outputs) > 1 else outputs[0],
        "inputs": [filled(one) for one in found["inputs"]],
        "state": [filled(one) for one in found["state"]],
        "changedPropIds": list(changed),
    }
    answer = client.post("/_dash-update-component", base_url=HOME, json=question)
    assert answer.status_code in (200, 204), answer.get_data(as_text=True)
    return json.loads(answer.data)["response"] if answer.data else None


def words_of(component):
    """All text of a component, as the page shows it."""
    if isinstance(component, dict):
        return words_of(component.get("props", {}).get("children"))
    if isinstance(component, list):
        return " | ".join(filter(None, map(words_of, component)))
    return "" if component is None else str(component)


# What it computes.


def test_neighbours_are_the_models_without_the_sentence_itself(model, session):
    texts = session.sentences.texts
    expected = model.neighbours([texts[3]], session.mean_NxZ, LIMIT).rows_QxK[0]
    found = session.of_row(3, metric="cosine").neighbours
    assert [near.row for near in found] == [row for row in expected if row != 3][:NEIGHBOURS]
    assert [near.text for near in found] == [texts[near.row] for near in found]


def test_the_metric_of_nearness_is_chosen(model, session):
    texts = session.sentences.texts
    expected = model.neighbours([texts[0]], session.mean_NxZ, LIMIT, metric="euclidean")
    scores = [near.score for near in session.of_row(0, metric="euclidean").neighbours]
    np.testing.assert_allclose(scores, expected.scores_QxK[0][1 : NEIGHBOURS + 1], rtol=1e-5)


def test_a_sentence_is_reconstructed_as_the_model_does(model, session):
    chosen = session.of_text("i love this soup", metric="cosine")
    assert [chosen.reconstruction] == model.reconstruct(["i love this soup"])
    assert chosen.row is None


def test_a_typed_sentence_lies_where_the_same_one_of_the_map_lies(session):
    typed = session.of_text(session.sentences.texts[5], metric="cosine")
    np.testing.assert_allclose(typed.place_2, session.place_Nx2[5], atol=1e-6)
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
    assert session.moved("", [2.0, 0.0]) == (expected[0], [])


def test_directions_may_start_from_a_sentence(model, session):
    text, _ = session.moved("the chefs were happy", [0.0] * session.directions)
    assert [text] == model.reconstruct(["the chefs were happy"])


def test_there_are_no_more_directions_than_dimensions(model, session):
    assert session.directions == min(DIRECTIONS, model.latent_dim)


def test_samples_are_the_same_for_a_seed_and_differ_for_another(session):
    first = session.drawn(temperature=1.0, seed=4)
    assert first == session.drawn(temperature=1.0, seed=4)
    assert first != session.drawn(temperature=1.0, seed=5)


def test_words_are_found_whatever_their_case_and_order(model):
    texts = ["The soup is hot", "hot storm", "a soup, hot", "nothing"]
    session = Session(model, Sentences(texts, {}, ""))
    assert session.found("HOT soup") == [0, 2]
    assert session.found("  ") == []


def test_only_the_first_of_many_finds_are_given(model):
    session = Session(model, Sentences(["soup"] * 40, {}, ""))
    assert session.found("soup") == list(range(explore_session.FOUND))


def test_long_input_is_cut_and_said_so(session):
    text, notes = session.clean("storm " * 2_000, "a sentence")
    assert len(text) == explore_session.MAX_CHARACTERS
    assert "characters" in notes[0]
    assert "pieces" in notes[1]


@pytest.mark.parametrize(("text", "words"), [(None, "first"), ("  ", "first"), ("\ud800", "anew")])
def test_input_that_is_no_sentence_is_refused(session, text, words):
    with pytest.raises(UserError, match=f"Type a sentence {words}"):
        session.of_text(text, metric="cosine")


def test_a_row_that_is_none_is_refused(session):
    with pytest.raises(UserError, match="no such sentence"):
        session.of_row(LIMIT, metric="cosine")


def test_a_waiting_question_is_overtaken_by_the_next_of_its_control(monkeypatch):
    turns, outcomes, counted = Turns(), [], threading.Semaphore(0)
    count = turns._count
    monkeypatch.setattr(turns, "_count", lambda control: (count(control), counted.release())[0])

    def question(name, control):
        try:
            with turns.turn(control):
                outcomes.append((name, "answered"))
        except OvertakenError:
            outcomes.append((name, "overtaken"))

    asked = [("old", "slider"), ("other", "another"), ("new", "slider")]
    threads = [threading.Thread(target=question, args=one) for one in asked]
    with turns.turn(None):
        counted.acquire()
        for thread in threads:  # each waits for the device before the next one asks
            thread.start()
            counted.acquire()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [("new", "answered"), ("old", "overtaken"), ("other", "answered")]


# Which sentences.


def test_a_sample_of_a_split_is_bounded_and_the_same_every_time(model):
    here, again = (
        read_sentences(model.parts, split="train", file=None, limit=20) for _ in range(2)
    )
    assert here.texts == again.texts
    assert len(here.texts) == 20
    assert here.origin == "20 of the 200 sentences of grammar's train split, drawn at random."


def test_a_sentence_keeps_its_labels(model):
    rows = model.parts.corpus.split("test")
    there = {row.text: row.labels for row in rows}
    sentences = read_sentences(model.parts, split="test", file=None, limit=10)
    assert set(sentences.labels) == set(model.parts.corpus.label_fields)
    for field, label in sentences.labels.items():
        classes = [there[text][field] for text in sentences.texts]
        assert label.classes_N.tolist() == classes
        assert label.name_of(0) == label.names[classes[0]]


def test_a_sample_of_a_file_is_spread_over_it(model, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"sentence {i}\n\n" for i in range(1_000)), encoding="utf-8")
    sentences = read_sentences(model.parts, split="test", file=str(path), limit=50)
    numbers = [int(text.split()[1]) for text in sentences.texts]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 50
    assert 300 < np.mean(numbers) < 700
    assert sentences.origin.startswith("50 of the 1,000 sentences of")


def test_a_file_that_cannot_be_read_is_told(model, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.txt"):
        read_sentences(model.parts, split="test", file=str(tmp_path / "none.txt"), limit=5)


def test_a_corpus_that_has_gone_can_be_replaced_by_a_file(model, monkeypatch):
    def gone(self):
        raise UserError("sentences.txt is missing")

    monkeypatch.setattr(type(model.parts), "corpus", property(gone))
    with pytest.raises(UserError, match=r"sentences\.txt is missing .*give --sentences=FILE"):
        read_sentences(model.parts, split="test", file=None, limit=5)


def test_a_language_model_is_refused(language_model):  # noqa: F811
    with pytest.raises(UserError, match="explore needs a latent"):
        open_session(language_model, split="test", file=None, limit=5)


# A folder made by export.


def test_an_exported_folder_says_why_map_and_curves_are_empty(exported):
    session = open_session(exported, split="test", file=None, limit=5)
    page = words_of(get(client_of(session), "/_dash-layout").get_json())
    assert "exported without its corpus" in page
    assert "--sentences=FILE" in page
    assert "holds no metrics" in page


def test_an_exported_folder_goes_along_the_directions_of_the_prior(exported):
    session = open_session(exported, split="test", file=None, limit=5)
    z = np.zeros((1, exported.latent_dim))
    z[0, 1] = 1.5
    assert session.moved("", [0.0, 1.5])[0] == exported.decode(z)[0]


def test_an_exported_folder_maps_the_sentences_of_a_file(exported, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("i love this soup\nthe chefs were happy\na bad storm\n", encoding="utf-8")
    session = open_session(exported, split="test", file=str(path), limit=5)
    answer = ask(client_of(session), "sentence-result", "show.n_clicks", text__value="a storm")
    assert "the chefs were happy" in words_of(answer["sentence-result"]["children"])


# Pictures.


def test_a_point_of_the_map_is_the_row_it_says(session):
    field = next(iter(session.sentences.labels))
    label, seen = session.sentences.labels[field], []
    for trace in map_traces(session, field):
        for row, x in zip(trace["customdata"], trace["x"], strict=True):
            assert x == session.place_Nx2[row, 0]
            assert label.name_of(row) == trace["name"]
            seen.append(row)
    assert sorted(seen) == list(range(LIMIT))


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
    assert (
        trace["hovertext"][0] == "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;img src=x onerror=alert(1)&gt;"
    )


def test_long_curves_are_thinned():
    rows = [{"step": i, "train/kl": 1.0} for i in range(5_000)]
    panel = next(panel for panel in PANELS if panel.title.startswith("KL,"))
    figure = curve_figure(panel, rows)
    assert len(figure["data"][0]["x"]) == 1_000
    assert curve_figure(panel, [{"step": 1, "train/kl": None}]) is None


# Whom it answers.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machines_names_are_answered(client, host):
    assert get(client, Host=f"{host}:{PORT}").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", "localhost.:7860", ""],
)
@pytest.mark.parametrize("path", ["/", "/_dash-layout", "/_dash-component-suites/x.js"])
def test_another_host_is_refused(client, host, path):
    answer = get(client, path, Host=host)
    assert answer.status_code == 403
    assert answer.get_data(as_text=True) == "Only pages of this server may ask it.\n"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:7860"]
)
def test_a_page_of_another_origin_is_refused(client, origin):
    answer = client.post("/_dash-update-component", base_url=HOME, headers={"Origin": origin})
    assert answer.status_code == 403


def test_an_own_page_is_answered(client):
    assert get(client, Origin=HOME).status_code == 200


def test_a_huge_request_is_refused(client):
    answer = client.post("/_dash-update-component", base_url=HOME, json="x" * 2_000_000)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/", "/_dash-layout", "/_dash-dependencies"])
def test_the_page_names_no_address_outside(client, path):
    assert not OUTSIDE.findall(get(client, path).get_data(as_text=True))


def test_all_scripts_are_served_here(client):
    scripts = re.findall(r'<script[^>]* src="([^"]*)"', get(client).get_data(as_text=True))
    assert scripts
    for script in scripts:
        assert script.startswith("/_dash-component-suites/")
        assert get(client, script).status_code == 200, script


def test_the_browser_may_load_from_here_alone(client):
    policy = get(client).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy and "*" not in policy
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]


def test_no_picture_bears_plotlys_logo_or_link(client):
    layout = get(client, "/_dash-layout").get_data(as_text=True)
    graphs = layout.count('"type":"Graph"')
    assert graphs == 1 + len(PANELS)
    assert layout.count('"displaylogo":false') == graphs
    assert layout.count('"plotlyServerURL":""') == graphs


# What it answers.


def test_a_click_on_the_map_shows_its_sentence(client, session):
    click = {"points": [{"customdata": 7}]}
    answer = ask(client, "sentence-result", "map.clickData", map__clickData=click)
    assert answer["text"]["value"] == session.sentences.texts[7]
    assert answer["chosen"]["data"] == {"row": 7, "text": session.sentences.texts[7]}


def test_a_new_button_that_nobody_pressed_answers_nothing(client):
    changed = '{"place":"near","row":3,"type":"pick"}.n_clicks'
    pick = {
        "id": {"place": "near", "row": 3, "type": "pick"},
        "property": "n_clicks",
        "value": None,
    }
    assert ask(client, "sentence-result", changed, picks=[pick]) is None


def test_a_click_together_with_new_buttons_is_answered(client, session):
    """Dash asks once for both where the buttons come while the click waits."""
    pick = {"place": "near", "row": 3, "type": "pick"}
    button = {"id": pick, "property": "n_clicks", "value": None}
    changed = [f"{json.dumps(pick, separators=(',', ':'))}.n_clicks", "show.n_clicks"]
    answer = ask(client, "sentence-result", *changed, picks=[button], text__value="a storm")
    assert answer["text"]["value"] == "a storm"


def test_a_sentence_with_markup_is_text_on_the_page(client):
    answer = ask(client, "sentence-result", "show.n_clicks", text__value=MARKUP)
    result = answer["sentence-result"]["children"]
    assert MARKUP in words_of(result)
    kinds = set(re.findall(r'"type": "(\w+)", "namespace"', json.dumps(result)))
    assert kinds <= {"P", "H3", "Ol", "Ul", "Li", "Button", "Span"}


def test_bad_input_is_a_sentence_on_the_page(client):
    answer = ask(client, "sentence-result", "show.n_clicks", text__value=" ")
    assert words_of(answer["sentence-result"]["children"]) == "Type a sentence first."
    assert set(answer) == {"sentence-result"}


def test_a_fault_of_ours_is_told_on_the_page_and_in_the_terminal(
    client, session, monkeypatch, capsys
):
    def broken(*_, **__):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(session, "drawn", broken)
    answer = ask(client, "drawn", "draw.n_clicks", draw__n_clicks=1)
    assert words_of(answer["drawn"]["children"]) == "This went wrong here; the terminal says what."
    assert "a fault of ours" in capsys.readouterr().err


def test_an_overtaken_question_leaves_the_page_as_it_is(client, session, monkeypatch):
    def overtaken(*_, **__):
        raise OvertakenError

    monkeypatch.setattr(session, "drawn", overtaken)
    assert ask(client, "drawn", "draw.n_clicks", draw__n_clicks=1) is None


def test_the_slider_chooses_among_the_steps_of_the_path(client):
    path = {"steps": [f"sentence {i}" for i in range(STEPS)], "notes": []}
    answer = ask(
        client,
        "between-now",
        "between-step.value",
        path__data=path,
        between_step__value="3",
    )
    assert words_of(answer["between-now"]["children"]) == f"Step 3 of {STEPS} | sentence 2"


def test_words_that_no_sentence_has_are_told(client):
    answer = ask(client, "found", "find.value", find__value="xylophone")
    assert words_of(answer["found"]["children"]) == "No sentence on the map has these words."


# The command.


@pytest.fixture
def command(monkeypatch, capsys, trained):
    """Runs the command in this process until it fails: (exit status, errors)."""

    def run(*arguments):
        values = flags.FlagValues()
        explore.define_flags(values)
        monkeypatch.setattr(flags, "FLAGS", values)
        try:
            command_line._parse(["explore", f"--workdir={trained}", *arguments])
            status = command_line._guarded(explore.main)
        except SystemExit as stopped:
            status = stopped.code
        return status, capsys.readouterr().err

    return run


def test_a_taken_port_is_one_line(command):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, errors = command(f"--port={port}")
    assert status == 1
    assert errors == f"error: --port={port}: another program uses it; give another, or 0 for any\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split=test", "--sentences=a.txt"], "give one of them"),
        (["--limit=0"], "--limit"),
        (["--port=70000"], "--port"),
    ],
)
def test_flags_that_cannot_be_are_told(command, words, message):
    status, errors = command(*words)
    assert status == 2
    assert errors.startswith("error: ") and message in errors and errors.count("\n") == 1


def test_without_dash_it_says_what_to_install(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "dash", None)
    status, errors = command()
    assert (status, errors) == (
        1,
        "error: explore needs Dash; pip install 'vaetx-jax[explore]'\n",
    )


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c_and_ends_well(trained):
    arguments = [
        sys.executable,
        "-u",
        "-m",
        "vaetx_jax.explore",
        f"--workdir={trained}",
        "--port=0",
    ]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    with process:
        try:
            said = iter(process.stdout.readline, "")
            ready = next((line for line in said if line.startswith("ready")), None)
            assert ready, process.stderr.read()
            address = re.search(r"http://127\.0\.0\.1:\d+", ready)[0]
            assert "Ctrl-C" in ready
            with urllib.request.urlopen(address) as answer:
                assert b"vae_transformer on grammar" in answer.read()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "stopped\n", "")
