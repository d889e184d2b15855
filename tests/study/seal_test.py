"""The seal of a finished cell: damage is found, and what depends on it is done again."""

import hashlib
import json

import pytest

from vaetx_jax.config.defaults import default_config
from vaetx_jax.inference.reference import OWN
from vaetx_jax.study.seal import (
    EVALUATION,
    PROBE,
    SEAL,
    Condition,
    condition,
    seal,
    set_aside,
    unseal,
)

PROTOCOL = default_config().probe.to_dict()


FILES = {
    "config.json": '{"seed": 0}',
    "metrics.jsonl": '{"step": 1}\n',
    "tokenizer/model": "pieces",
    "checkpoints/10/state/d/array": "weights",
    EVALUATION: json.dumps({"iw_samples": 50, "kl": 1.5}),
    PROBE: json.dumps({"protocol": PROTOCOL}),
}


@pytest.fixture
def sealed(tmp_path):
    """A finished cell, probed too, made by hand."""
    folder = tmp_path / "ptb-vae_gru-none-z64-s0-01234567"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    seal(folder, {"seconds": 3.0})
    return folder


def wanted_of(folder, *, iw_samples=50, protocol=PROTOCOL):
    return condition(folder, iw_samples=iw_samples, protocol=protocol)[0]


def test_a_sealed_cell_is_finished(sealed):
    assert condition(sealed, iw_samples=50, protocol=PROTOCOL) == (Condition.FINISHED, "finished")
    facts = json.loads((sealed / SEAL).read_text())
    assert facts["seconds"] == 3.0
    assert facts["sha256"] == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()
    }


def test_a_cell_without_a_seal_is_open(sealed, tmp_path):
    (sealed / SEAL).unlink()
    assert wanted_of(sealed) is Condition.OPEN
    assert wanted_of(tmp_path / "nowhere") is Condition.OPEN


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(path):
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("damage", [truncate, change_a_byte, lambda path: path.unlink()])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_what_rests_on_it_is_done_again(sealed, name, damage):
    damage(sealed / name)
    found, why = condition(sealed, iw_samples=50, protocol=PROTOCOL)
    results = (EVALUATION, PROBE)
    assert found is (Condition.STALE_METRICS if name in results else Condition.DAMAGED)
    assert why == f"{name} has changed since the cell was finished"


def test_damage_to_what_was_trained_counts_more_than_to_the_results(sealed):
    truncate(sealed / EVALUATION)
    truncate(sealed / "tokenizer" / "model")
    assert wanted_of(sealed) is Condition.DAMAGED


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"sha256": 3}', '{"sha256": [1]}', b"\xff\xfe"]
)
def test_a_seal_that_cannot_be_read_vouches_for_nothing(sealed, text):
    (sealed / SEAL).write_bytes(text if isinstance(text, bytes) else text.encode())
    found, why = condition(sealed, iw_samples=50, protocol=PROTOCOL)
    assert (found, why) == (Condition.DAMAGED, "cell.json cannot be read")


def test_other_samples_and_other_protocols_are_evaluated_again(sealed):
    assert wanted_of(sealed, iw_samples=500) is Condition.STALE_METRICS
    assert wanted_of(sealed, protocol={**PROTOCOL, "fit": "closed"}) is Condition.STALE_METRICS
    assert wanted_of(sealed, protocol=None) is Condition.FINISHED


def test_a_cell_that_was_not_probed_is_finished_where_no_probe_is_wanted(sealed):
    (sealed / PROBE).unlink()
    seal(sealed, {})
    assert wanted_of(sealed, protocol=None) is Condition.FINISHED
    assert condition(sealed, iw_samples=50, protocol=PROTOCOL)[1] == "not probed yet"


def test_a_sealed_cell_without_an_evaluation_is_evaluated_again(sealed):
    (sealed / EVALUATION).unlink()
    seal(sealed, {})
    assert wanted_of(sealed) is Condition.STALE_METRICS


def test_figures_and_reports_may_come_and_go(sealed):
    (sealed / "latent.png").write_text("a picture")
    assert wanted_of(sealed) is Condition.FINISHED


def test_breaking_a_seal_keeps_the_facts_and_the_results_it_vouches_for(sealed):
    truncate(sealed / PROBE)
    assert unseal(sealed) == {"seconds": 3.0}
    assert wanted_of(sealed) is Condition.OPEN
    assert (sealed / EVALUATION).exists()
    assert not (sealed / PROBE).exists(), "sealed anew it would pass for sound"


def test_without_a_seal_no_result_is_vouched_for(sealed):
    (sealed / SEAL).write_text("{")
    assert unseal(sealed) == {}
    assert not (sealed / EVALUATION).exists() and not (sealed / PROBE).exists()
    assert unseal(sealed) == {}


def test_a_cell_set_aside_takes_no_others_place(sealed):
    names = []
    for number in range(3):
        names.append(set_aside(sealed).name)
        sealed.mkdir()
        (sealed / "number").write_text(str(number))
    assert names == [f"{sealed.name}.damaged-{number}" for number in (1, 2, 3)]
    second = sealed.with_name(names[2])
    assert (second / "number").read_text() == "1"
    assert (sealed.with_name(names[0]) / SEAL).exists()


def test_text_that_is_asked_for_later_is_evaluated_later(sealed):
    def wanted(metrics):
        (sealed / EVALUATION).write_text(json.dumps(metrics))
        seal(sealed, {})
        return condition(sealed, iw_samples=50, protocol=None, text=True)[0]

    brief = {"iw_samples": 50, "text": {"distinct_1": 0.5}}
    assert wanted({"iw_samples": 50}) is wanted(brief) is Condition.STALE_METRICS
    assert wanted({"iw_samples": 50, "text": {"sentences": 40}}) is Condition.FINISHED
    assert wanted_of(sealed, protocol=None) is Condition.FINISHED


def test_a_reference_that_is_named_later_is_measured_against_later(sealed):
    def wanted(metrics):
        (sealed / EVALUATION).write_text(json.dumps({"iw_samples": 50} | metrics))
        seal(sealed, {})
        return condition(sealed, iw_samples=50, protocol=None, reference=True)[0]

    assert wanted({}) is wanted({"reference": OWN}) is Condition.STALE_METRICS
    assert wanted({"reference": "gru_lm, step 10 (best)"}) is Condition.FINISHED
