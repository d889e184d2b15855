"""Dotted keys of a config: read, set, compared."""

from typing import Any

from ml_collections import ConfigDict


def value_of(config: ConfigDict, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def set_value(config: ConfigDict, key: str, value: Any) -> None:
    """Sets the value at a dotted key.

    Raises:
      TypeError, ValueError: it is of the wrong type.
    """
    section, _, name = key.rpartition(".")
    (value_of(config, section) if section else config)[name] = value


def differences(old: ConfigDict, new: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with (old, new)."""
    old_flat, new_flat = flatten(old.to_dict()), flatten(new.to_dict())
    keys = sorted(old_flat.keys() | new_flat.keys())
    return {
        key: (old_flat.get(key), new_flat.get(key))
        for key in keys
        if old_flat.get(key) != new_flat.get(key)
    }


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dict as dotted keys; an empty one is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
