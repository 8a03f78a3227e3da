import pytest

# What the helper asserts, `python -O` would leave out: with it, that the command ran at all.
pytest.register_assert_rewrite("tests.command")
