"""All settings: their defaults, their rules and where they are kept."""

from vaetx_jax.config.defaults import default_config
from vaetx_jax.config.own_text import own_text_config
from vaetx_jax.config.validation import validate

__all__ = ["default_config", "own_text_config", "validate"]
