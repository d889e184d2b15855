"""What `train_step` says of its measurements: ratios, a table and the name of a file."""

import statistics
from typing import Any

from benchmarks import processor


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Their seconds over ours, round by round: the median, the quarters, and of the sums."""
    low, middle, high = statistics.quantiles(
        [t / o for t, o in zip(theirs, ours, strict=True)], n=4
    )
    total = sum(theirs) / sum(ours)
    return {"median": middle, "quarter": low, "three_quarters": high, "total": total}


def report(results: dict[str, Any]) -> str:
    """The results as lines."""
    what, memory = f"{results['model']}, {results['what']}", results["peak_memory_mb"]
    lines = [f"{what}: seconds, PyTorch's time over ours (quarters), peak memory"]
    for name, median in results["seconds"].items():
        found, beside = results["ratios"].get(name), ""
        if found:
            spread = f"({found['quarter']:.2f} to {found['three_quarters']:.2f})"
            beside = f"{found['median']:5.2f}x {spread}"
        of_ours = f"{memory['ours'] / memory[name]:5.2f}" if name != "ours" else ""
        lines.append(f"{name:18} {median:7.3f} s  {beside:22} {memory[name]:7,.0f} MB {of_ours}")
    rate = f"{results['matmul_gflops']:.0f} GFLOP/s, which a 2048 x 2048 product reaches here"
    if results["matmul_share"] is None:
        lines.append(f"no ratios: others took {results['others']:.0%} of the processor; {rate}")
    else:
        lines.append(f"{results['matmul_share']:.0%} of {rate}")
    return "\n".join(lines)


def file_name(results: dict[str, Any]) -> str:
    """Of the results of one model on one processor."""
    evaluation = "-evaluation" if results["what"] == "evaluation" else ""
    half = "-bfloat16" if results["precision"] == "bfloat16" else ""
    dim = "" if results["dim"] == 128 else f"-d{results['dim']}"
    slug = processor.slug(results["processor"])
    return f"train_step-{results['model']}{evaluation}{dim}{half}-{slug}.json"
