"""Errors that a user can correct, as opposed to bugs."""


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a value.

    The message says what was wrong, where (file, line, key) and what to do. The command line
    prints it without a traceback and leaves with `exit_status`.
    """

    exit_status = 1


class ConfigError(UserError):
    """A setting is wrong: an unknown key, a wrong type, a value out of range."""

    exit_status = 2


class DamagedError(UserError):
    """A file that we wrote has changed since."""
