"""A config on disk, and the cache folder that it names."""

import json
import pathlib

from ml_collections import ConfigDict

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.validation import validate
from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime.paths import cache_root


def cache_dir(config: ConfigDict) -> pathlib.Path:
    """`data.cache_dir`, else $VAETX_CACHE, else ~/.cache/vaetx_jax."""
    return cache_root(config.data.cache_dir)


def to_json(config: ConfigDict) -> str:
    """The config as it is kept in a work folder."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def read_config(path: pathlib.Path) -> ConfigDict:
    """A kept config, laid over today's defaults so that keys added since have their default.

    Raises:
      UserError: the file is missing or is no config of this project.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        config = default_config(kept["model"]["name"])
        config.update(kept)
        validate(config)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path.parent}: no config.json here, so this is not the work folder of a run; "
            "give the workdir of the training"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise UserError(f"{path}: not a config of this project ({error})") from error
    return config
