"""The facts by which the checkpoints of a run are compared, and which of them are kept."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

KEEP_LATEST = 2


@dataclasses.dataclass(frozen=True)
class CheckpointInfo:
    """The facts by which checkpoints are compared.

    Attributes:
      step: updates done.
      valid_ppl_elbo: perplexity by the ELBO on the validation split; None: not validated.
      candidate: whether the checkpoint may become `best`.
    """

    step: int
    valid_ppl_elbo: float | None
    candidate: bool

    @property
    def score(self) -> float:
        """Lower is better; infinite where the checkpoint cannot be `best`."""
        value = self.valid_ppl_elbo
        if not self.candidate or value is None or not math.isfinite(value):
            return math.inf
        return value


def best(saved: Mapping[int, CheckpointInfo]) -> int | None:
    """The step with the lowest validation perplexity among the candidates, or None."""
    eligible = [info for info in saved.values() if info.score < math.inf]
    return min(eligible, key=lambda info: (info.score, -info.step)).step if eligible else None


def superseded(saved: Mapping[int, CheckpointInfo]) -> list[int]:
    """The steps that are neither among the latest nor the best."""
    kept = {*sorted(saved)[-KEEP_LATEST:], best(saved)}
    return [step for step in saved if step not in kept]


def to_json(info: CheckpointInfo) -> dict[str, Any]:
    """The facts as JSON, which has no NaN."""
    value = info.valid_ppl_elbo
    known = value is not None and math.isfinite(value)
    return dataclasses.asdict(info) | {"valid_ppl_elbo": value if known else None}
