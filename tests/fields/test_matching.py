"""Matching a registration against an existing event, and saying where two differ."""

import pytest

from userevents.fields import difference, matches, parse_fields


@pytest.mark.parametrize(
    ("existing", "args", "same"),
    [
        ("u32 a", "u32 a;", True),
        ("u32 a; u32 b", "u32 a;u32 b", True),
        ("u32 a; u32 b", "\xa0u32\v\va;\ru32\fb\xa0", True),
        ("u32 a; u32 b", "u32 a ; u32 b", False),
        ("u32 a; u32 b", "u32 a u32 b", False),
        ("u32 a; u32 b", "u32 a", False),
        ("u32 a", "u32 a; u32 b", False),
        ("u32 a;;u32 b", "u32 a;;u32 b", False),
        ("u32 a", "u32 a;;", False),
        ("char[20] a", "char[0x14] a", False),
        ("char[0x14] a", "char[0x14] a", True),
        ("struct s a 20", "struct  s a 20", True),
        ("struct s a 020", "struct s a 020", False),
        ("struct s a 020", "struct s a 20", True),
        ("", "", True),
        ("", "\n\xa0", True),
        (";", ";", False),
        ("u32 a", "", False),
        ("u32 a\n", "u32 a\n", False),
        ("u32 \xc3\xa0", "u32 \xc3\xa0", False),
        ("__rel_loc  s", "__rel_loc  s", False),
    ],
)
def test_declarations_are_compared_word_by_word(existing: str, args: str, same: bool) -> None:
    """White space runs count as one blank, and all else as text; some texts do not even match themselves."""
    assert matches(parse_fields(existing), args) is same


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("u32 count", "u64 count", "'u32 count' here, 'u64 count' there"),
        ("u8 a; struct s b 4", "u8 a; struct s b 8", "'struct s b 4' here, 'struct s b 8' there"),
        ("u8 a", "u8 a; u8 b", "no further field here, 'u8 b' there"),
        ("u8 a", "", "'u8 a' here, no further field there"),
        ("u8 a", "u8 a;", "no field differs"),
    ],
)
def test_the_first_difference_is_told_in_the_words_of_a_declaration(here: str, there: str, said: str) -> None:
    """A person sees the two spellings side by side."""
    assert difference(parse_fields(here), parse_fields(there)) == said
