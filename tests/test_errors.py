"""What a user is meant to read is one short line."""

import pytest

from helpers.errors import LONG, brief, first_line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Connection refused.", "Connection refused"),
        ("One. Two", "One. Two"),
        (f"One. {'x' * LONG}.", "One"),
    ],
)
def test_only_long_texts_are_cut(text: str, told: str) -> None:
    assert brief(text) == told


def test_an_error_without_text_is_its_type() -> None:
    assert first_line(ValueError("\n")) == "ValueError"
    assert first_line(ValueError("\n a \nb")) == "a"
