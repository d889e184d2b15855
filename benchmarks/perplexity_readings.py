"""Which perplexity does the paper print? Every reading of it beside the published figures.

    python -m benchmarks.perplexity_readings --data=DIR --results=results/table2.json
    python -m benchmarks.perplexity_readings --data=DIR --cells=studies/paper

Takes the evaluated cells of a table or of a study's folder and the corpora in DIR (laid out as
`data.manual_dir`, with `bert/vocab.txt`), and writes `readings.json` and `readings.md` into `--to`.
Nothing is trained but n-gram models; it takes about a minute on one core.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks.process import run
from benchmarks.reading_tables import (
    PUBLISHED,
    implied_rows,
    published_noise,
    reading_rows,
    report,
    tokenizer_rows,
)
from benchmarks.readings import Cell, needed_padding_nats
from benchmarks.tokenized_texts import Corpus, open_public
from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.stored import cache_dir
from vaetx_jax.errors import UserError
from vaetx_jax.reports.tables import provenance
from vaetx_jax.runtime.atomic import write_text

_DATA = flags.DEFINE_string("data", None, "The folder of the corpora's files.", required=True)
_RESULTS = flags.DEFINE_string("results", "results/table2.json", "A study's table as JSON.")
_CELLS = flags.DEFINE_string("cells", "", "A study's folder instead: its evaluated cells.")
_TO = flags.DEFINE_string("to", "results", "The folder that is written to.")

CORPORA = ("ptb", "wikitext2", "sst2", "air")
_OWN_TOKENS = "vae_gpt2"  # in the paper, too, it has GPT-2's: no reading of the others holds for it


def cells_of_table(path: pathlib.Path) -> list[Cell]:
    """The cells of a study's JSON that have a published figure.

    Raises:
      UserError: the file is missing or no table of language models.
    """
    cells = []
    for row in _read_json(path)["rows"]:
        if not row.get("published") or row["model"] == _OWN_TOKENS:
            continue
        ours = {name: value and value["mean"] for name, value in row["ours"].items()}
        facts = {name: row[name] for name in ("corpus", "model", "annealing", "epochs")}
        cells.append(_cell(facts, {**row, **ours}, row["published"]["ppl"]))
    return _some(cells, path)


def cells_of_study(folder: pathlib.Path) -> list[Cell]:
    """The evaluated cells of a study's folder that have a published figure.

    Raises:
      UserError: there is none, or a file of one is damaged.
    """
    cells = []
    for path in sorted(folder.glob("cells/*/evaluation-test.json")):
        corpus, model, annealing, latent, *_ = path.parent.name.split("-")
        published = _published(corpus, model, annealing, int(latent[1:]))
        if published is not None:
            evaluation, config = _read_json(path), _read_json(path.with_name("config.json"))
            epochs = config["train"]["epochs"]
            facts = {"corpus": corpus, "model": model, "annealing": annealing, "epochs": epochs}
            cells.append(_cell(facts, evaluation, published))
    return _some(cells, folder)


def _published(corpus: str, model: str, annealing: str, latent_dim: int) -> float | None:
    """The paper's PPL of a cell, of the first table that has it; latent 0: a language model."""
    tables = [PUBLISHED.get(latent_dim, {})] if latent_dim else list(PUBLISHED.values())
    row = model, annealing if latent_dim else None
    found = [table[row][corpus].ppl for table in tables if corpus in table.get(row, {})]
    return found[0] if found and model != _OWN_TOKENS else None


def _cell(facts: Mapping[str, Any], figures: Mapping[str, Any], published: float) -> Cell:
    nll = figures["nll"]
    return Cell(
        **facts,
        tokenizer=figures["tokenizer"],
        sentences=figures["sentences"],
        nll=nll,
        kl=figures["kl"] or 0.0,
        tokens=nll / math.log(figures["ppl_rec"]),
        words=nll / math.log(figures["ppl_rec_word"]),
        published=published,
    )


def _read_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}. Give a file that a study wrote.") from error


def _some(cells: list[Cell], place: pathlib.Path) -> list[Cell]:
    if not cells:
        raise UserError(f"no evaluated cell with a published perplexity in {place}")
    return cells


def check_tokens(cells: Sequence[Cell], corpora: Mapping[str, Corpus]) -> None:
    """Checks that the corpora give the tokens that the cells were evaluated on.

    Raises:
      UserError: they do not.
    """
    for cell in cells:
        counted = corpora[cell.corpus].measure(cell.tokenizer).tokens + 1
        if abs(counted - cell.tokens) > 1e-6 * counted:
            raise UserError(
                f"{cell.corpus}, {cell.model}: evaluated on {cell.tokens:.4f} tokens per sentence, "
                f"but the corpus has {counted:.4f}. Give the files it was trained on."
            )


def main() -> None:
    """Reads the cells, measures the corpora and writes both files."""
    if _CELLS.value:
        cells = cells_of_study(pathlib.Path(_CELLS.value))
    else:
        cells = cells_of_table(pathlib.Path(_RESULTS.value))
    folder, cache = pathlib.Path(_DATA.value), cache_dir(default_config())
    corpora = {name: open_public(name, folder, cache) for name in CORPORA}
    check_tokens(cells, corpora)
    first = [next((c for c in cells if c.corpus == name), None) for name in CORPORA]
    results = {
        "cells": [dataclasses.asdict(cell) for cell in cells],
        "readings": reading_rows(cells, corpora),
        "tokenizers": tokenizer_rows(corpora),
        "implied": implied_rows(corpora),
        "noise": published_noise(CORPORA),
        "padding_nats": {
            cell.corpus: needed_padding_nats(cell, corpora[cell.corpus]) for cell in first if cell
        },
        "made": {**provenance(), "command": _command()},
    }
    to, text = pathlib.Path(_TO.value), report(results, cells)
    to.mkdir(parents=True, exist_ok=True)
    write_text(to / "readings.json", json.dumps(results, indent=2) + "\n")
    write_text(to / "readings.md", text)
    print(text, end="")


def _command() -> str:
    """The command without the folders of this machine."""
    of = "--cells=STUDY" if _CELLS.value else f"--results={_RESULTS.value}"
    return f"python -m benchmarks.perplexity_readings --data=DIR {of}"


if __name__ == "__main__":
    run(main)
