"""White space as the kernel's isspace() has it; Python's own notion is wider."""

from typing import Final

SPACES: Final = "\t\n\v\f\r \xa0"
_TO_BLANK: Final = dict.fromkeys(map(ord, SPACES), " ")


def words(text: str) -> list[str]:
    """Split at runs of white space."""
    return [word for word in text.translate(_TO_BLANK).split(" ") if word]
