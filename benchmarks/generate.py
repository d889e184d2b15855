"""Encoding and greedy decoding of ours beside PyTorch with a cache, on the Penn Treebank.

    python -m benchmarks.generate --json=generate.json

The VAE-Transformer (dimension 128, V = 30,522 by `wordpiece`) with fresh weights whose [SEP] is
never said, so that every sentence is 30 pieces long. Encoding is from strings to posterior means
(tokenising included) of the test split; decoding is from latents to strings, 256 of them in batches
of 64. Each side is a process of its own and says the best of several rounds; first both must give
the same means (to 1e-4) and, but for ties, the same sentences. Needs
`pip install 'vaetx-jax[bench]'`; --sides=ours does without.
"""

import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.process import last_line_of, run
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import UserError
from vaetx_jax.inference.exported import named_leaves, write
from vaetx_jax.models import text_vae
from vaetx_jax.run.run import create_run

SIDES = ("ours", "pytorch")
_DATA = flags.DEFINE_string("data", "../shared/data", "The folder of the corpora.")
_SIDES = flags.DEFINE_list("sides", list(SIDES), "Which sides.")
_JSON = flags.DEFINE_string("json", "", "A file for the results.")


def prepare(folder: pathlib.Path) -> None:
    """A model and sentences that both sides read."""
    config = default_config()
    config.data.corpus, config.data.manual_dir = "ptb", _DATA.value
    config.tokenizer.kind = "wordpiece"
    validate(config)
    run = create_run(config, folder)
    variables = jax.device_get(text_vae.init(run.model, jax.random.key(0)))
    params = variables["params"]
    bias = jnp.asarray(params["output_layer"]["bias"]).at[run.tokenizer.sep_id].set(-1e6)
    params["output_layer"]["bias"] = np.asarray(bias)
    (folder / "model").mkdir()
    write(folder / "model", run, variables, step=0, label="untrained")
    np.savez(
        folder / "params.npz",
        **{k.replace(".", "/"): v for k, v in named_leaves(variables).items()},
    )
    texts = [row.text for row in run.corpus.split("test")]
    (folder / "sentences.json").write_text(json.dumps(texts))


def check(results: dict[str, dict]) -> None:
    """Refuses to compare what does not compute the same.

    Raises:
      UserError: means or sentences differ.
    """
    first, *others = results.values()
    for other in others:
        apart = np.max(np.abs(np.subtract(first["means"], other["means"])))
        same = np.mean([a == b for a, b in zip(first["said"], other["said"], strict=True)])
        if apart > 1e-4 or same < 0.9:
            raise UserError(f"means {apart:.1e} apart, {same:.0%} of the sentences the same")


def main() -> None:
    """Prints both sides and writes the results."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(pathlib.Path(folder))
        command = ("benchmarks.generate_sides", folder)
        results = {side: json.loads(last_line_of(*command, side)) for side in _SIDES.value}
    check(results)
    for side, result in results.items():
        print(
            f"{side:8} encodes {result['encoded_per_second']:7,.0f} sentences a second, decodes "
            f"{result['decoded_per_second']:6,.0f} of 30 pieces; one alone in "
            f"{1000 * result['one_seconds']:.0f} ms"
        )
    if _JSON.value:
        kept = {s: {k: v for k, v in r.items() if "second" in k} for s, r in results.items()}
        pathlib.Path(_JSON.value).write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
