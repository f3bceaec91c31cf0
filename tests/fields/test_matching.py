"""Matching a registration against an existing event, and saying where two differ."""

import pytest

from userevents.fields import clash, difference, matches, parse_fields


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
        ("u32 count", "u64 count", "registered 'u32 count', declared 'u64 count'"),
        ("u8 a; struct s b 4", "u8 a; struct s b 8", "registered 'struct s b 4', declared 'struct s b 8'"),
        ("u8 a; u8 c", "u16 a; u16 c", "registered 'u8 a', declared 'u16 a'; registered 'u8 c', declared 'u16 c'"),
        ("u8 a", "u8 a; u8 b", "registered no further field, declared 'u8 b'"),
        ("u8 a", "", "registered 'u8 a', declared no further field"),
        ("u8 a", "u8 a;", ""),
    ],
)
def test_differences_are_told_field_by_field_in_the_words_of_a_declaration(here: str, there: str, said: str) -> None:
    """A person sees the two spellings side by side."""
    assert difference(parse_fields(here), parse_fields(there)) == said


def test_a_long_list_of_differences_is_cut() -> None:
    """Sixty fields that differ are one sentence all the same."""
    fields, others = (parse_fields("; ".join(f"{kind} f{number}" for number in range(60))) for kind in ("u8", "u16"))
    said = difference(fields, others)
    assert said.count("registered") == 8
    assert said.endswith("; and 52 more fields differ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("u64 a", "with other fields: registered 'u32 a', declared 'u64 a' (use multi_format to keep both)"),
        ("u32 a;;", "with the same fields spelled otherwise: declare it as 'tick u32 a'"),
        ("u32 a ;", ", and otherwise than this declaration, which is none: field 'u32 a '"),
    ],
)
def test_a_clash_says_what_differs_or_how_to_spell_it(args: str, said: str) -> None:
    """EADDRINUSE alone does not say whether another type, another spelling or no type at all was met."""
    assert said in clash("tick", parse_fields("u32 a"), args)
