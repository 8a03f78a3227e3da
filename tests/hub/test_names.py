"""Which names are a model's, and that none of them leaves the cache."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from minigpt2 import hub as minigpt2_hub
from tests.hub_server import BEFORE_2


@pytest.mark.skipif(BEFORE_2, reason="huggingface_hub took letters beyond ASCII before 2.0")
@given(
    st.one_of(st.text("aZ0_-./é", max_size=8), st.from_regex(r"\A[a-z0-9._/-]{0,12}(\.git)?\Z"), st.text(max_size=100))
)
def test_the_same_names_are_a_models_as_for_huggingface_hub(name: str) -> None:
    try:
        validate_repo_id(name)
        is_name = True
    except HFValidationError:
        is_name = False
    try:
        minigpt2_hub.cached(name, "config.json", cache_dir="no/such/folder")
        assert is_name
    except ValueError:
        assert not is_name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/passwd", "a//b", "a/./b", "a\\..\\b", "C:x", "a\0", "a/"]
)
def test_a_file_or_revision_never_leaves_the_models_folder(name: str) -> None:
    with pytest.raises(ValueError, match="is not a file or revision"):
        minigpt2_hub.cached("gpt2", name)
    with pytest.raises(ValueError, match="is not a file or revision"):
        minigpt2_hub.fetch("gpt2", "config.json", revision=name)


@pytest.mark.parametrize("value", [None, b"gpt2", Path("gpt2"), 1])
def test_a_name_that_is_no_string_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="strings"):
        minigpt2_hub.fetch(value, "config.json")
    with pytest.raises(TypeError, match="strings"):
        minigpt2_hub.fetch("gpt2", value)
