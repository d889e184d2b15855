"""All results of `train_step` as one table, the processors below each other.

    python -m benchmarks.speed_table

The last line names the worst ratio against compiled PyTorch on our length groups, which is the one
that the documentation has to quote.
"""

import json
import pathlib
from typing import Any

from benchmarks.process import run

SIDES = ("eager_padded", "compiled_padded", "compiled_grouped")
NOT_RECORDED = "not recorded"  # by results from before the processor was
FOLDER = pathlib.Path(__file__).parents[1] / "results" / "speed"


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The results of all models on all processors, in the order of the table."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("train_step-*.json"))]
    return sorted(found, key=lambda one: (_processor(one), one["what"] != "train", one["model"]))


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table, a row a result; a dash where a figure was not measured."""
    lines = [
        "| processor | model | ours | eager, padded | compiled, padded | compiled, bucketed "
        "| share | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        model = f"`{one['model']}`" + ", evaluation" * (one["what"] == "evaluation")
        share, memory = one.get("matmul_share"), one.get("peak_memory_mb", {})
        cells = [
            _processor(one),
            model,
            f"{one['seconds']['ours']:.3f} s",
            *(_ratio(one["ratios"].get(side)) for side in SIDES),
            f"{share:.0%}" if share else "-",
            f"{memory['ours'] / memory['eager_padded']:.2f}" if "eager_padded" in memory else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def worst(results: list[dict[str, Any]]) -> tuple[float, str]:
    """(the least ratio of a training step against compiled and bucketed, its processor)."""
    return min(
        (one["ratios"]["compiled_grouped"]["median"], _processor(one))
        for one in results
        if one["what"] == "train" and "compiled_grouped" in one["ratios"]
    )


def _ratio(ratio: dict[str, float] | None) -> str:
    return f"{ratio['median']:.2f}x" if ratio else "-"


def _processor(result: dict[str, Any]) -> str:
    facts = result.get("processor")
    if facts is None:
        return NOT_RECORDED
    family = f" ({facts['family']})" if facts["family"] else ""
    return f"{facts['processor']}{family}, {facts['cores']} cores, {facts['vectors']}"


def main() -> None:
    """Prints the table."""
    results = read(FOLDER)
    ratio, name = worst(results)
    print(f"{table(results)}\n\nThe worst: {ratio:.2f}x, {name}")


if __name__ == "__main__":
    run(main)
