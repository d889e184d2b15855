"""The explorer over HTTP and as a command: whom it answers, what, and what it says of bad input."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from absl import flags

from vaetx_jax import command_line
from vaetx_jax.explore import __main__
from vaetx_jax.explore.__main__ import open_session
from vaetx_jax.explore.figures import PANELS
from vaetx_jax.explore.sentences import Sentences
from vaetx_jax.explore.session import STEPS, VIEWS, Session, SupersededError
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load
from vaetx_jax.run.metric_log import METRICS, read_metrics

pytest.importorskip("dash", reason="Dash is not installed: pip install 'vaetx-jax[explore]'")

from vaetx_jax.explore import server

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
    return server.build_app(session, list(metrics), port=PORT).server.test_client()


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
    assert session.move_along("", [0.0, 1.5])[0] == exported.decode(z)[0]


def test_sentences_of_one_latent_have_no_directions(model):
    session = Session(model, Sentences(["i love this soup"] * 3, {}, ""))
    page = words_of(get(client_of(session), "/_dash-layout").get_json())
    assert "All sentences on the map have the same latent." in page
    assert "Direction 1" not in page


def test_an_exported_folder_maps_the_sentences_of_a_file(exported, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("i love this soup\nthe chefs were happy\na bad storm\n", encoding="utf-8")
    session = open_session(exported, split="test", file=str(path), limit=5)
    answer = ask(client_of(session), "sentence-result", "show.n_clicks", text__value="a storm")
    assert "the chefs were happy" in words_of(answer["sentence-result"]["children"])


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


def test_no_field_holds_more_than_a_request_may_have(client):
    layout = get(client, "/_dash-layout").get_data(as_text=True)
    assert layout.count('"type":"text"') == layout.count('"maxLength":10000') == 5


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
    assert answer["chosen"]["data"] == {"row": None, "text": "a storm"}


def test_words_that_are_being_typed_stay_in_their_field(client, session):
    shown = ask(client, "sentence-result", "show.n_clicks", text__value="a storm")
    assert "text" not in shown, "the answer may come when there are more words"
    kept = {"row": 3, "text": session.sentences.texts[3]}
    anew = ask(client, "sentence-result", "metric.value", text__value="a st", chosen__data=kept)
    assert "text" not in anew and anew["chosen"]["data"] == kept
    cut = ask(client, "sentence-result", "show.n_clicks", text__value=" a storm ")
    assert cut["text"]["value"] == "a storm"


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

    monkeypatch.setattr(session, "sample", broken)
    answer = ask(client, "drawn", "draw.n_clicks", draw__n_clicks=1)
    assert (
        words_of(answer["drawn"]["children"])
        == "Something went wrong; the terminal has the details."
    )
    assert "a fault of ours" in capsys.readouterr().err


def test_an_overtaken_question_leaves_the_page_as_it_is(client, session, monkeypatch):
    def superseded(*_, **__):
        raise SupersededError

    monkeypatch.setattr(session, "sample", superseded)
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


def test_the_view_moves_the_points_and_the_rings(client, session):
    view = VIEWS[1]
    drawn = ask(client, "map.figure", "view.value", view__value=view, colour__value="")
    moved = {tuple(op["location"]): op["params"] for op in drawn["map"]["figure"]["operations"]}
    (trace,) = moved[("data",)]["value"]
    assert trace["x"] == session.points(view)[:, 0].tolist()
    kept = {"row": 3, "text": session.sentences.texts[3]}
    answer = ask(client, "sentence-result", "view.value", view__value=view, chosen__data=kept)
    (rings,) = [op["params"]["value"] for op in answer["map"]["figure"]["operations"]]
    assert rings[-1]["xanchor"] == pytest.approx(float(session.points(view)[3, 0]))


def test_a_view_is_not_zoomed_as_the_last_one_was_and_a_colour_is(client):
    def axes_reset(changed):
        answer = ask(client, "map.figure", changed, view__value=VIEWS[1], colour__value="")
        places = [tuple(op["location"]) for op in answer["map"]["figure"]["operations"]]
        return [("layout", axis, "autorange") in places for axis in ("xaxis", "yaxis")]

    assert axes_reset("view.value") == [True, True]
    assert axes_reset("colour.value") == [False, False]


def test_a_path_that_lacks_an_end_is_told_in_the_place_of_the_last_one(client):
    changed, ends = "between-b-entered.data", {"between_kind__value": "linear"}
    answer = ask(client, "between-problem", changed, **ends, between_a_entered__data="a storm")
    problem = words_of(answer["between-problem"]["children"])
    assert (problem, answer["path"]["data"]) == ("Type the second sentence first.", None)
    answer = ask(client, "between-problem", changed, **ends)
    assert words_of(answer["between-problem"]["children"]) == "Type the first sentence first."
    empty = ask(client, "between-now", "path.data")
    assert [empty[part]["children"] for part in ("between-now", "between-all")] == [[], []]


def test_a_page_that_has_less_than_two_sentences_starts_without_a_problem(client):
    assert ask(client, "between-problem", between_a_entered__data="a storm") is None


def test_many_finds_are_counted(client, session):
    texts = [text for text in session.sentences.texts if "e" in text]
    answer = ask(client, "found", "find.value", find__value="e")
    said = words_of(answer["found"]["children"])
    assert said.startswith(f"The first 12 of {len(texts)}; more words find fewer. | ")


def test_words_that_no_sentence_has_are_told(client):
    answer = ask(client, "found", "find.value", find__value="xylophone")
    assert words_of(answer["found"]["children"]) == "No sentence on the map has these words."


# The command.


@pytest.fixture
def command(monkeypatch, capsys, trained):
    """Runs the command in this process until it fails: (exit status, errors)."""

    def run(*arguments):
        values = flags.FlagValues()
        __main__.define_flags(values)
        monkeypatch.setattr(flags, "FLAGS", values)
        try:
            command_line._parse(["explore", f"--workdir={trained}", *arguments])
            status = command_line._guarded(__main__.main)
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
        (["--text_column=a"], "--text_column and --label_column go with --sentences=FILE"),
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
