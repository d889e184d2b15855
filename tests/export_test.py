"""Export and load: the same bits back, nothing of this machine in it, and no tampering unseen."""

import json
import shutil

import jax
import numpy as np
import pytest
from huggingface_hub import ModelCard

from vaetx_jax.errors import DamagedError, UserError
from vaetx_jax.export import export
from vaetx_jax.inference.loading import load

SENTENCES = ["i love this soup", "the chefs were happy"]


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("export") / "model")


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_a_round_trip_gives_the_same_bits(model, exported):
    again = load(exported)
    assert (again.step, again.source) == (model.step, model.source)
    before, after = (jax.tree.leaves_with_path(m.params) for m in (model, again))
    for (path, old), (other, new) in zip(before, after, strict=True):
        assert path == other and old.dtype == new.dtype
        assert np.asarray(old).tobytes() == np.asarray(new).tobytes()
    np.testing.assert_array_equal(again.encode(SENTENCES)[0], model.encode(SENTENCES)[0])
    assert again.sample(3) == model.sample(3)


def test_an_export_of_an_export_is_the_same(exported, tmp_path):
    again = export(load(exported), tmp_path / "again")
    for name in ("model.safetensors", "config.json", "manifest.json"):
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_no_path_of_this_machine_is_in_it(exported, model):
    cache = model.run.config.data.cache_dir
    assert cache
    for path in exported.rglob("*"):
        if path.is_file():
            assert cache.encode() not in path.read_bytes(), path
            assert str(model.run.folder).encode() not in path.read_bytes(), path


def test_the_card_says_what_it_is_and_how_to_load_it(exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    for words in ("vae_transformer", "grammar", "parameters", "vaetx_jax.load", "not evaluated"):
        assert words in card


def test_the_card_has_the_numbers_of_this_checkpoint_with_their_kinds(model, trained, tmp_path):
    from vaetx_jax.export import model_card

    figures = {"split": "test", "sentences": 40, "tokens": 300, "truncated": 0, "nll": 20.5}
    figures |= {"kl": 1.25, "ppl_elbo": 7.125, "ppl_iw": None, "iw_samples": 2}
    figures |= {"mi": 0.5, "mi_limit": 3.68888, "au": 2, "latent_dim": 4}
    card = model_card(model.run, figures, step=40, source="best")
    assert "| `kl` | 1.25 | rate" in card and "`ppl_iw`" not in card
    assert "at most 3.69" in card and "of 4: variance" in card


def test_the_head_has_the_numbers_as_results_that_the_hub_reads(model):
    from vaetx_jax.export import model_card

    figures = {"split": "test", "sentences": 40, "tokens": 300, "truncated": 0, "iw_samples": 2}
    figures |= {"kl": 1.25, "ppl_iw": 7.125, "behind_lm": None, "mi_limit": 3.7, "latent_dim": 4}
    data = ModelCard(model_card(model.run, figures, step=40, source="best")).data
    found = [(r.metric_type, r.metric_value, r.dataset_split) for r in data.eval_results]
    assert found == [("perplexity", 7.125, "test"), ("kl", 1.25, "test")]
    assert "importance-weighted" in data.eval_results[0].metric_name


def test_the_head_of_the_card_is_what_the_hub_reads(exported):
    data = ModelCard.load(exported / "README.md").data
    assert data.library_name == "vaetx_jax" and data.language == "en"
    assert {"variational-autoencoder", "vae_transformer"} <= set(data.tags)
    assert data.license is None  # the built-in corpus has none of its own


FILES = ["model.safetensors", "config.json", "corpus.json", "tokenizer/sentencepiece.model"]


@pytest.mark.parametrize("name", [*FILES, "tokenizer/tokenizer.json"])
def test_one_changed_byte_is_refused(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DamagedError, match=f"{name}: not as it was written"):
        load(copied)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_refused(copied, name):
    (copied / name).unlink()
    with pytest.raises(DamagedError, match=name):
        load(copied)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "sha256": 3}'])
def test_a_manifest_that_is_none_is_refused(copied, text):
    (copied / "manifest.json").write_text(text)
    with pytest.raises(DamagedError, match="cannot be read"):
        load(copied)


def test_a_file_that_the_manifest_does_not_vouch_for_is_refused(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["sha256"]["model.safetensors"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=r"model.safetensors: not as it was written"):
        load(copied)


def test_a_later_format_is_refused_in_words(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(UserError, match=r"of format 2, and this version .* reads format 1"):
        load(copied)


def test_parameters_of_another_model_are_refused(copied):
    """Both files are whole and vouched for, but do not belong together."""
    from vaetx_jax.runtime.manifest import sha256_of

    config = json.loads((copied / "config.json").read_text())
    config["model"]["dim"] = 16
    (copied / "config.json").write_text(json.dumps(config))
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = sha256_of(copied / "config.json")
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=r"not the parameters of the model in config.json"):
        load(copied)


def test_a_folder_that_holds_something_is_left_alone(model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="this already exists"):
        export(model, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken(model, tmp_path):
    (tmp_path / "new").mkdir()
    export(model, tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "README.md",
        "config.json",
        "corpus.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
