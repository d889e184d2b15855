"""Dotted keys of a config: read, set, compared."""

from typing import Any

from ml_collections import ConfigDict

from vaetx_jax.errors import ConfigError
from vaetx_jax.runtime import paths

# The last part of the keys that are paths, in configs of runs and of studies alike.
_PATH_NAMES = {"manual_dir", "cache_dir", "vocab_dir", "init_from", "vectors", "reference"}
_PATH_NAMES |= {"weights", "encoder_weights"}


def value_of(config: ConfigDict, key: str) -> Any:
    """The value at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def type_of(config: ConfigDict, key: str) -> type:
    """The type of the values at a dotted key."""
    section, name = _section_of(config, key)
    kind: type = section.get_type(name)
    return kind


def set_value(config: ConfigDict, key: str, value: Any) -> None:
    """Sets the value at a dotted key.

    Raises:
      TypeError, ValueError: it is of the wrong type.
    """
    if isinstance(value, bool) and type_of(config, key) in (int, float):
        raise TypeError(f"{value} is no number")  # a ConfigDict takes it for 1 or 0
    section, name = _section_of(config, key)
    section[name] = value


def _section_of(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """The section that a dotted key is in, and the key's name there."""
    section, _, name = key.rpartition(".")
    return (value_of(config, section) if section else config), name


def expand_paths(config: ConfigDict) -> None:
    """Expands `~` in all settings that are paths.

    Raises:
      ConfigError: one is a URL, which is no path of this machine.
    """
    for key, value in flatten(config.to_dict()).items():
        section, _, name = key.rpartition(".")
        is_file = section == "data" and name in ("train", "valid", "test")
        if isinstance(value, str) and value and (name in _PATH_NAMES or is_file):
            check_local(f"config.{key}", value, hub=is_file)
            if value.startswith("~"):
                set_value(config, key, paths.expand(value))


def check_local(name: str, value: str, *, hub: bool = False) -> None:
    """Refuses a URL where a path is needed.

    Args:
      name: the flag or setting, for the message.
      hub: whether a data set of the Hugging Face hub, `hf://NAME`, may stand there.

    Raises:
      ConfigError: it is one.
    """
    scheme = paths.scheme_of(value)
    if scheme and not (hub and scheme == "hf"):
        raise ConfigError(
            f"{name} = {value!r}: {scheme}:// cannot be read or written here; give a path of this "
            "machine (copy the files, or mount the storage)"
        )


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
