"""`python -m vaetx_jax.explore --workdir=DIR`: a trained model as a page in the browser.

A map of the corpus in the latent space, a sentence's neighbours and reconstructions, the path
between two, sliders on the principal directions, samples, and the run's curves. The page is served
to this machine alone and needs no network. Ctrl-C stops it.

--workdir may also be a folder made by `export`. It has no corpus, so give the sentences to map with
--sentences=FILE (.txt, .tsv, .csv, .jsonl or .parquet, each also .gz, or hf://NAME). The explorer
is an extra: `pip install 'vaetx-jax[explore]'`.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import pathlib
import signal
from typing import Any

from absl import flags

from vaetx_jax import command_line
from vaetx_jax.data.corpora.splits import SPLITS
from vaetx_jax.data.fields import ANY_FIELDS, Fields
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.explore.sentences import read_sentences
from vaetx_jax.explore.session import Session
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.run.metric_log import METRICS, read_metrics
from vaetx_jax.runtime.console import counted


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """The command's flags."""
    given: dict[str, Any] = {"flag_values": values}
    flags.DEFINE_string(
        "workdir", None, "The folder of a trained run, or one made by export.", **given
    )
    flags.DEFINE_string(
        "checkpoint", "best", "The checkpoint to use: best, last or a step.", **given
    )
    flags.DEFINE_enum("split", None, list(SPLITS), "The split to map; test by default.", **given)
    flags.DEFINE_string(
        "sentences", None, "A file of sentences to map instead of a split.", **given
    )
    command_line.define_columns(values)
    flags.DEFINE_integer(
        "limit", 2_000, "The largest number of sentences on the map.", **given, lower_bound=1
    )
    flags.DEFINE_integer(
        "port",
        7860,
        "The port on this machine; 0: any free one.",
        **given,
        lower_bound=0,
        upper_bound=65535,
    )


def main() -> None:
    """The command: serves until it is stopped."""
    values = flags.FLAGS
    folder = pathlib.Path(command_line.require("workdir"))
    if values.sentences and values.split:
        raise ConfigError("--split and --sentences both say which sentences; give one of them")
    if command_line.fields() and not values.sentences:
        raise ConfigError("--text_column and --label_column go with --sentences=FILE")
    server_lib = _server()
    with server_lib.reserve(values.port) as reserved:
        model = load(folder, checkpoint=values.checkpoint)
        model.check_has_latent("explore")
        session = open_session(
            model,
            split=values.split or "test",
            file=values.sentences,
            limit=values.limit,
            fields=command_line.fields().or_usual(model.run.fields),
        )
        metrics = read_metrics(model.run.folder / METRICS)
        app = server_lib.build_app(session, metrics, port=reserved.getsockname()[1])
        print("compiling ...", flush=True)
        session.warm_up()
        server = server_lib.listen(app, reserved)
    print(f"ready: http://{server_lib.ADDRESS}:{server.port}  (Ctrl-C stops it)", flush=True)
    for stop in (signal.SIGINT, signal.SIGTERM):  # a script's background ignores the first
        signal.signal(stop, signal.default_int_handler)
    server.serve_forever()  # until then
    print("stopped")


def open_session(
    model: TextModel, *, split: str, file: str | None, limit: int, fields: Fields = ANY_FIELDS
) -> Session:
    """Reads and encodes the sentences of the map, and prints their origin.

    Raises:
      UserError: a language model; the corpus or the file cannot be read.
    """
    sentences = read_sentences(model.run, split=split, file=file, limit=limit, fields=fields)
    print(sentences.origin, flush=True)
    if sentences.texts:
        print(f"encoding {counted(len(sentences.texts), 'sentence')} ...", flush=True)
    return Session(model, sentences)


def _server() -> Any:
    """Imports the module that needs Dash.

    Raises:
      UserError: Dash is not installed.
    """
    try:
        import dash  # noqa: F401
    except ImportError:
        raise UserError("explore needs Dash; pip install 'vaetx-jax[explore]'") from None
    from vaetx_jax.explore import server

    return server


if __name__ == "__main__":
    command_line.run(main, define_flags)
