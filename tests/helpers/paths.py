"""Where the repository's own files are, for tests at any depth."""

import pathlib

TESTS = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = TESTS.parent
FIXTURES = TESTS / "fixtures"
