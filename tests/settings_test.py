"""Declared settings: which values break which rule, and how the rule is worded."""

import dataclasses
import math

import pytest

from vaetx_jax.settings import broken_rules, setting


@dataclasses.dataclass(frozen=True)
class Example:
    count: int = setting(1, least=1)
    rate: float = setting(0.1, above=0)
    share: float = setting(0.5, least=0, below=1)
    length: int = setting(8, least=3, most=512)
    kind: str = setting("cyclic", choices=("none", "cyclic"))
    width: int | None = setting(None, least=1)
    note: str = ""


def broken(**changes):
    return list(broken_rules(Example, dataclasses.asdict(Example()) | changes))


def test_defaults_break_no_rule():
    assert broken() == []


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("count", 0, "must be at least 1"),
        ("rate", 0.0, "must be above 0"),
        ("share", 1.0, "must be at least 0 and below 1"),
        ("share", -0.1, "must be at least 0 and below 1"),
        ("length", 513, "must be at least 3 and at most 512"),
        ("rate", math.nan, "must be a finite number"),
        ("rate", math.inf, "must be a finite number"),
        ("kind", "cyclical", "must be one of none, cyclic (did you mean cyclic?)"),
        ("width", 0, "must be at least 1"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_its_rule(name, value, rule):
    assert broken(**{name: value}) == [(name, rule)]


@pytest.mark.parametrize(("name", "value"), [("count", 1), ("share", 0.0), ("length", 512)])
def test_inclusive_bounds_are_allowed(name, value):
    assert broken(**{name: value}) == []


def test_every_broken_rule_is_named():
    assert [name for name, _ in broken(count=0, share=2.0)] == ["count", "share"]
