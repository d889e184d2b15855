"""The errors a user can put right, told apart from our own bugs."""


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
    """A file of ours is not as it was written."""
