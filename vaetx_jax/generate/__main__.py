"""`python -m vaetx_jax.generate --workdir=DIR TASK [SENTENCE ...]`: the tasks of a trained model.

    sample        sentences drawn from the prior                      --count=10 --label=CLASS
    decode        a sentence for each vector of the encoder's kind    --vectors=FILE.npy
    reconstruct   sentences through their latents and back
    interpolate   sentences between two                               --steps=7 --path=linear
    analogy       the sentence that is to the third as the second is to the first; or, for sets,
                  each sentence and the step between two files    --from=FILE --to=FILE
                                                                  --strength=1.5
    neighbours    a corpus's sentences nearest to each                --corpus=FILE --k=5
    encode        posterior means and deviations                      --output=vectors.npy
    score         bounds on the log-probability, nats                 --iw_samples=10

Sentences are words of the command (quote them), or the lines of --input=FILE (.txt, .tsv, .csv,
.jsonl or .parquet, each also .gz, or hf://NAME), or of standard input. A file is read by the
columns of the run's own corpus where it has them, else by text and label; --text_column=NAME says
another. interpolate takes two sentences, analogy three: as words, or on one line with tabs between.
--output=FILE writes a file instead, in the format of its name: .jsonl gives all fields, as
--format=jsonl does. encode writes .npy (the means) or .parquet (lines, means, deviations) as well,
in constant memory. A line that cannot be read is fatal, or left out with --on_error=skip.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import functools
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

from vaetx_jax import command_line
from vaetx_jax.data.decoded_lines import LineError
from vaetx_jax.data.fields import Fields
from vaetx_jax.data.line_reader import JSON_KINDS, Line, kind_of, read_lines
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.generate import results_file, vector_files
from vaetx_jax.generate.tasks import DECODING, SCORE_HEADING, STEER, TASKS, encode_windows
from vaetx_jax.inference.interpolation import PATHS
from vaetx_jax.inference.loading import load
from vaetx_jax.inference.neighbours import METRICS
from vaetx_jax.inference.text_model import TextModel
from vaetx_jax.settings import MAX_SEED, closest

_KINDS = {"text": ".txt", "tsv": ".tsv", "csv": ".csv", "jsonl": ".jsonl"}


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
    string("checkpoint", "best", "The checkpoint to use: best, last or a step.")
    string("input", None, "A file of sentences; - is standard input.")
    string("output", results_file.STANDARD_OUTPUT, "A file for the results; - is standard output.")
    choice(
        "format",
        None,
        ["text", "jsonl"],
        "The format of the output; by default that of its name, else text.",
    )
    choice(
        "input_format", None, list(_KINDS), "The format of the input; by default that of its name."
    )
    command_line.define_columns(values)
    choice(
        "on_error",
        "fatal",
        ["fatal", "skip"],
        "Stop at a line that cannot be read, or skip it with a note.",
    )
    integer("count", 10, "sample: the number of sentences.", lower_bound=0)
    string("label", None, "sample: draw from the latents of this class's training sentences.")
    string("vectors", None, "decode: a .npy file with a vector per row.")
    string("from", None, "analogy: a file of sentences; their mean is the start of the step.")
    string("to", None, "analogy: a file of sentences; their mean is the end of the step.")
    number("strength", 1.0, "analogy: the factor of the step between --from and --to.")
    integer("steps", 7, "interpolate: the number of sentences, both ends included.", lower_bound=2)
    choice("path", "linear", list(PATHS), "interpolate: along a straight line, or a great circle.")
    string("corpus", None, "neighbours: the file to search; - is standard input.")
    integer("k", 5, "neighbours: the number per query.", lower_bound=1)
    choice("metric", "cosine", list(METRICS), "neighbours: the similarity or distance to rank by.")
    integer(
        "iw_samples",
        10,
        "score: the number of samples of the importance-weighted bound.",
        lower_bound=0,
    )
    integer("seed", 0, "The seed of all random numbers.", lower_bound=0, upper_bound=MAX_SEED)
    number(
        "temperature", None, "0: take the most probable token, the default except for sample (1)."
    )
    integer("top_k", None, "Sample among this many most probable tokens.")
    number("top_p", None, "Sample among the fewest tokens whose probabilities sum to this.")
    integer("beam", None, "The number of hypotheses of a beam search; nothing is sampled then.")
    number(
        "length_power",
        None,
        "beam: compare hypotheses by log-probability / length to this power.",
    )
    integer("no_repeat", None, "Never repeat a sequence of this many tokens.")


def main(words: Sequence[str]) -> int | None:
    """The command."""
    name, texts = _task_name(words)
    if name == "analogy" and (flags.FLAGS["from"].value or flags.FLAGS.to):
        name = STEER
    folder = pathlib.Path(command_line.require("workdir"))
    # All that can be wrong with the command is refused before a model is loaded.
    arguments, open_lines = _arguments(name, texts), _lines(name, texts)
    vector_kind = _vector_kind() if name == "encode" else None
    _check_output(vector_kind)
    model = load(folder, checkpoint=flags.FLAGS.checkpoint)
    fields = command_line.fields().or_usual(model.run.fields)
    lines = open_lines(fields)
    for file in {"corpus", "start", "end"} & arguments.keys():
        arguments[file] = functools.partial(arguments[file], fields)
    if vector_kind:
        _write_vectors(model, lines, vector_kind)
        return None
    as_json = _is_json()
    with results_file.open_results(flags.FLAGS.output) as stream:
        if name == "score" and not as_json:
            stream.write(SCORE_HEADING + "\n")
        for record in TASKS[name].run(model, lines, **arguments):
            line = json.dumps(record.json, ensure_ascii=False) if as_json else record.text
            stream.write(line + "\n")
    return None


def _task_name(words: Sequence[str]) -> tuple[str, list[str]]:
    known = ", ".join(name for name in TASKS if name != STEER)
    if not words:
        raise ConfigError(f"the task is missing: give one of {known}; see --help")
    name, *texts = words
    if name not in TASKS or name == STEER:
        raise ConfigError(
            f"unknown task {name!r}{closest(name, TASKS)}; there are {known}; see --help"
        )
    return name, texts


def _arguments(name: str, texts: list[str]) -> dict[str, Any]:
    """The keyword arguments of a task, from the flags."""
    values, task = flags.FLAGS, TASKS[name]
    _refuse_flags_of_others(name)
    arguments = {option: values[option].value for option in task.options}
    if name == "decode" and not values.vectors:
        raise ConfigError("decode needs --vectors=FILE.npy, the vectors to decode")
    if name == STEER:
        ends = {"start": values["from"].value, "end": values.to}
        if None in ends.values():
            raise ConfigError("analogy over sets needs both --from=FILE and --to=FILE")
        for end, file in ends.items():
            arguments[end] = functools.partial(_read, file)
    if name == "neighbours":
        if not values.corpus:
            raise ConfigError("neighbours needs --corpus=FILE, the sentences to search")
        if values.corpus == "-" and not texts and values.input in (None, "-"):
            raise ConfigError(
                "--corpus=- and the sentences both from standard input; give --input=FILE"
            )
        arguments["corpus"] = functools.partial(_read, values.corpus)
    if task.decodes:
        how: dict[str, Any] = {
            field: values[field].value for field in DECODING if values[field].value is not None
        }
        if (how.get("top_k") or how.get("top_p", 1) < 1) and name != "sample":
            how.setdefault("temperature", 1.0)
        arguments |= how
    return arguments


def _refuse_flags_of_others(name: str) -> None:
    """Refuses a flag that only other tasks read: it would be given and change nothing.

    --seed goes with all tasks, also with those that draw nothing.
    """
    for flag in sorted({flag for task in TASKS.values() for flag in task.flags} - {"seed"}):
        if flags.FLAGS[flag].present and flag not in TASKS[name].flags:
            owners = ", ".join(other for other, task in TASKS.items() if flag in task.flags)
            raise ConfigError(f"--{flag} goes with {owners}, not with {name}")


def _lines(name: str, texts: list[str]) -> Callable[[Fields], Iterable[Line]]:
    """Opens the input by its columns: words, a file or standard input; a sample has none."""
    source, columns = flags.FLAGS.input, TASKS[name].columns
    if not columns and (texts or source):
        instead = "--count=N" if name == "sample" else "--vectors=FILE.npy"
        raise ConfigError(f"{name} takes no sentences; give {instead}")
    if not columns:
        return lambda _: ()
    if texts and source:
        raise ConfigError(f"sentences in the command and --input={source}; give one of them")
    if texts:
        if len(texts) % columns:
            raise ConfigError(f"{name} takes {columns} sentences at a time, not {len(texts)}")
        groups = [tuple(texts[i : i + columns]) for i in range(0, len(texts), columns)]
        return lambda _: [Line(number, group) for number, group in enumerate(groups, start=1)]
    if source is None and sys.stdin.isatty():
        print("reading sentences from standard input, to its end (Ctrl-D)", file=sys.stderr)
    kind = _KINDS.get(flags.FLAGS.input_format)
    return functools.partial(_read, source or "-", columns=columns, kind=kind)


def _read(
    source: str, fields: Fields, *, columns: int = 1, kind: str | None = None
) -> Iterator[Line]:
    return read_lines(source, columns=columns, kind=kind, fields=fields, on_error=_on_error)


def _on_error(error: LineError) -> None:
    if flags.FLAGS.on_error == "fatal":
        raise UserError(f"{error} (--on_error=skip leaves such lines out)")
    print(f"note: {error}; left out", file=sys.stderr)


def _is_json() -> bool:
    """Whether the results are JSON: as --format says, else as the output's name does."""
    if flags.FLAGS.format:
        return bool(flags.FLAGS.format == "jsonl")
    return kind_of(flags.FLAGS.output) in JSON_KINDS


def _vector_kind() -> str | None:
    """`.npy` or `.parquet`, if that is where `encode` writes to."""
    suffix = pathlib.PurePath(flags.FLAGS.output).suffix
    if suffix in vector_files.OPENERS and flags.FLAGS.format:
        raise ConfigError(f"--format is for text output; leave it out for --output=...{suffix}")
    return suffix if suffix in vector_files.OPENERS else None


def _check_output(vector_kind: str | None) -> None:
    given = flags.FLAGS.output
    suffix = pathlib.PurePath(given).suffix
    if suffix in vector_files.OPENERS and not vector_kind:
        raise ConfigError(f"--output={given}: only encode writes {suffix}")
    if given != results_file.STANDARD_OUTPUT:
        path = results_file.results_path(given)
        if vector_kind and results_file.is_stream(path):
            raise UserError(f"--output={given}: a pipe or a device takes text only; give a file")


def _write_vectors(model: TextModel, lines: Iterable[Line], suffix: str) -> None:
    path, rows = results_file.results_path(flags.FLAGS.output), 0
    model.check_has_latent("encode")
    with vector_files.OPENERS[suffix](path, model.latent_dim) as add_rows:
        for window, mean_NxZ, std_NxZ in encode_windows(model, lines):
            add_rows(np.asarray([line.number for line in window]), mean_NxZ, std_NxZ)
            rows += len(window)
    print(f"written: {path}, {rows:,} rows of {model.latent_dim}", file=sys.stderr)


if __name__ == "__main__":
    command_line.run_with_words(main, define_flags)
