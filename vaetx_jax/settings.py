"""Settings as fields of frozen dataclasses, each declared with its default and its bounds.

    @dataclasses.dataclass(frozen=True)
    class Objective:
        cycles: int = setting(5, least=1)

The declaration is the only place that knows them: `config` makes its defaults and its checks from
it. None is a value only where it is the default: the setting is unset.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator
from typing import Any

# The largest seed: JAX would repeat the draws of 0 at the next, and scikit-learn refuses it.
MAX_SEED = 2**32 - 1

_BOUNDS = "bounds"


@dataclasses.dataclass(frozen=True)
class _Bounds:
    least: float | None  # inclusive, as `most`
    above: float | None  # exclusive, as `below`
    most: float | None
    below: float | None
    choices: tuple[str, ...] | None

    def rule(self, value: Any) -> str | None:
        """The rule that a value breaks, None where it breaks none."""
        if self.choices is not None and value not in self.choices:
            return choices(value, self.choices)
        if isinstance(value, float) and not math.isfinite(value):
            return "must be a finite number"
        fits = (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )
        return None if fits else self._range()

    def _range(self) -> str:
        bounds = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return "must be " + " and ".join(f"{how} {x}" for how, x in bounds if x is not None)


def setting(
    default: Any = dataclasses.MISSING,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
) -> Any:
    """A dataclass field with its default and the values that it may have.

    Args:
      default: its value where none is given; None: it may be unset; left out: there is none.
      least, most: inclusive bounds; above, below: exclusive ones.
      choices: the names it may be.
    """
    names = None if choices is None else tuple(choices)
    bounds = _Bounds(least, above, most, below, names)
    return dataclasses.field(default=default, metadata={_BOUNDS: bounds})


def broken_rules(declared: type, values: Any) -> Iterator[tuple[str, str]]:
    """The settings whose values are out of bounds: (field, 'must be ...') of each.

    Args:
      declared: a dataclass whose fields were made by `setting`; others are passed over.
      values: a mapping that holds a value for each field.
    """
    for field in dataclasses.fields(declared):
        bounds, value = field.metadata.get(_BOUNDS), values[field.name]
        unset = value is None and field.default is None
        if bounds is not None and not unset:
            rule = bounds.rule(value)
            if rule:
                yield field.name, rule


def choices(name: Any, names: Iterable[str]) -> str:
    """'must be one of ...', with the nearest name where there is one."""
    names = tuple(names)
    return f"must be one of {', '.join(names)}{closest(name, names)}"


def closest(name: Any, names: Iterable[str]) -> str:
    """' (did you mean NAME?)' where one of the names is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
