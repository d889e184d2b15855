"""`python -m vaetx_jax.generate --workdir=DIR VERB [SENTENCE ...]`: what a trained model can do.

    sample        sentences drawn from the prior                      --count=10
    reconstruct   sentences through their latents and back
    interpolate   sentences between two                               --steps=7 --path=linear
    analogy       what is to the third as the second is to the first
    neighbours    a corpus's sentences nearest to each                --corpus=FILE --k=5
    encode        posterior means and deviations                      --output=vectors.npy
    score         bounds on the log-probability, nats                 --iw_samples=10

Sentences are words of the command (quote them), or the lines of --input=FILE (.txt, .tsv, .csv or
.jsonl, each also .gz), or of standard input. interpolate takes two of them, analogy three: as
words, or on one line with tabs between. --output=FILE writes a file instead; --format=jsonl gives
all there is to know. encode writes .npy (the means) or .parquet (lines, means, deviations) by the
file's name, in constant memory. A line that cannot be read is fatal, or left out with
--on_error=skip.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import contextlib
import functools
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from absl import flags

from vaetx_jax import command_line
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.data.decoded_lines import LineError
from vaetx_jax.data.line_reader import Line, read_lines
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.generate import vector_files
from vaetx_jax.generate.tasks import SCORE_HEADING, TASKS, Request, encoded_parts
from vaetx_jax.inference.interpolation import PATHS
from vaetx_jax.inference.neighbours import METRICS
from vaetx_jax.inference.text_model import TextModel, load
from vaetx_jax.runtime.atomic import open_atomic
from vaetx_jax.runtime.compilation_cache import use_compilation_cache
from vaetx_jax.settings import closest

_HOW = ("temperature", "top_k", "top_p", "beam", "length_power", "no_repeat")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """The command's flags."""
    string, integer, number, choice = (
        functools.partial(define, flag_values=values)
        for define in (
            flags.DEFINE_string,
            flags.DEFINE_integer,
            flags.DEFINE_float,
            flags.DEFINE_enum,
        )
    )
    string("workdir", None, "The folder of a trained run, or one made by export.")
    string("checkpoint", "best", "best, last or a step.")
    string("input", None, "A file of sentences; - is standard input.")
    string("output", None, "A file for the results instead of standard output.")
    choice("format", None, ["text", "jsonl"], "Of what is put out; text by default.")
    choice("input_format", None, ["text", "jsonl"], "Of the input; by its name else.")
    choice("on_error", "fatal", ["fatal", "skip"], "At a line that cannot be read.")
    integer("count", 10, "sample: how many.", lower_bound=0)
    integer("steps", 7, "interpolate: sentences, both ends included.", lower_bound=2)
    choice("path", "linear", list(PATHS), "interpolate: which way.")
    string("corpus", None, "neighbours: the file to search; - is standard input.")
    integer("k", 5, "neighbours: how many.", lower_bound=1)
    choice("metric", "cosine", list(METRICS), "neighbours: near by what.")
    integer("iw_samples", 10, "score: draws of the importance-weighted bound.", lower_bound=0)
    integer("seed", 0, "Of all draws.", lower_bound=0)
    number("temperature", None, "0 takes the most probable piece; sample: 1 by default.")
    integer("top_k", None, "Draw among so many most probable pieces.")
    number("top_p", None, "Draw among the fewest pieces of this probability together.")
    integer("beam", None, "Keep so many hypotheses and give the best; nothing is drawn.")
    number("length_power", None, "beam: compare by log-probability over length to this power.")
    integer("no_repeat", None, "Never say so many pieces in a row twice.")


def main(words: Sequence[str]) -> int | None:
    """The command."""
    verb, texts = _verb(words)
    folder = pathlib.Path(command_line.require("workdir"))
    request = _request(verb, texts)  # what is wrong with it is said before a model is loaded
    sink = _vector_file() if verb == "encode" else None
    _check_output(sink)
    model = load(folder, checkpoint=flags.FLAGS.checkpoint)
    use_compilation_cache(cache_dir(model.run.config))
    if sink:
        _write_vectors(model, request, sink)
        return None
    with _output() as stream:
        if verb == "score" and flags.FLAGS.format != "jsonl":
            stream.write(SCORE_HEADING + "\n")
        for record in TASKS[verb].run(model, request):
            as_json = flags.FLAGS.format == "jsonl"
            line = json.dumps(record.json, ensure_ascii=False) if as_json else record.text
            stream.write(line + "\n")
    return None


def _verb(words: Sequence[str]) -> tuple[str, list[str]]:
    there = ", ".join(TASKS)
    if not words:
        raise ConfigError(f"say what to do, one of {there}; see --help")
    verb, *texts = words
    if verb not in TASKS:
        raise ConfigError(f"{verb!r} is none of {there}{closest(verb, TASKS)}; see --help")
    return verb, texts


def _request(verb: str, texts: list[str]) -> Request:
    values, columns = flags.FLAGS, TASKS[verb].columns
    if values.corpus and verb != "neighbours":
        raise ConfigError(f"--corpus goes with neighbours, not with {verb}")
    if verb == "neighbours" and not values.corpus:
        raise ConfigError("neighbours needs --corpus=FILE, the sentences to search")
    if values.corpus == "-" and not texts and values.input in (None, "-"):
        raise ConfigError(
            "--corpus=- and the sentences both from standard input; give --input=FILE"
        )
    how: dict[str, Any] = {
        name: values[name].value for name in _HOW if values[name].value is not None
    }
    if (how.get("top_k") or how.get("top_p", 1) < 1) and verb != "sample":
        how.setdefault("temperature", 1.0)
    return Request(
        lines=_lines(verb, texts, columns),
        corpus=lambda: read_lines(values.corpus, on_error=_on_error),
        count=values.count,
        steps=values.steps,
        path=values.path,
        k=values.k,
        metric=values.metric,
        iw_samples=values.iw_samples,
        seed=values.seed,
        how=how,
    )


def _lines(verb: str, texts: list[str], columns: int) -> Iterable[Line]:
    """The input, from words, a file or standard input; a sample has none."""
    source = flags.FLAGS.input
    if not columns and (texts or source):
        raise ConfigError("sample takes no sentences; give --count=N")
    if not columns:
        return ()
    if texts and source:
        raise ConfigError(f"sentences in the command and --input={source}; give one of them")
    if texts:
        if len(texts) % columns:
            raise ConfigError(f"{verb} takes {columns} sentences at a time, here are {len(texts)}")
        groups = [tuple(texts[i : i + columns]) for i in range(0, len(texts), columns)]
        return [Line(number, group) for number, group in enumerate(groups, start=1)]
    if source is None and sys.stdin.isatty():
        print("reading sentences from standard input, to its end (Ctrl-D)", file=sys.stderr)
    kind = {None: None, "text": ".txt", "jsonl": ".jsonl"}[flags.FLAGS.input_format]
    return read_lines(source or "-", columns=columns, kind=kind, on_error=_on_error)


def _on_error(error: LineError) -> None:
    if flags.FLAGS.on_error == "fatal":
        raise UserError(f"{error} (--on_error=skip leaves such lines out)")
    print(f"note: {error}; left out", file=sys.stderr)


def _vector_file() -> str | None:
    """`.npy` or `.parquet`, if that is where `encode` writes to."""
    suffix = pathlib.PurePath(flags.FLAGS.output or "").suffix
    if suffix in vector_files.OPENERS and flags.FLAGS.format:
        raise ConfigError(f"--format goes with text output; --output=...{suffix} says it all")
    return suffix if suffix in vector_files.OPENERS else None


def _check_output(sink: str | None) -> None:
    if not flags.FLAGS.output:
        return
    path = pathlib.Path(flags.FLAGS.output)
    if path.suffix in vector_files.OPENERS and not sink:
        raise ConfigError(f"--output={path}: only encode writes {path.suffix}")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"--output={path}: give a file in a folder that exists")


def _write_vectors(model: TextModel, request: Request, suffix: str) -> None:
    path, rows = pathlib.Path(flags.FLAGS.output), 0
    model.needs_latent("encode")
    with vector_files.OPENERS[suffix](path, model.latent_dim) as add_rows:
        for numbers, _, mean, std in encoded_parts(model, request):
            add_rows(numbers, mean, std)
            rows += len(numbers)
    print(f"written: {path}, {rows:,} rows of {model.latent_dim}", file=sys.stderr)


@contextlib.contextmanager
def _output() -> Iterator[IO[str]]:
    """Standard output, or a file that has its name only when it is whole."""
    if not flags.FLAGS.output:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the terminal's language is
        yield sys.stdout
        sys.stdout.flush()
        return
    with open_atomic(pathlib.Path(flags.FLAGS.output), "w", encoding="utf-8") as stream:
        yield stream


if __name__ == "__main__":
    command_line.run_with_words(main, define_flags)
