"""Arithmetic in keys and values: what is read, what it comes to, and what is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.instance.trigger_driver import Instance as Driven
from userevents.errors import Refused
from userevents.fields import parse_fields
from userevents.instance.hist_expressions import parse_expression
from userevents.instance.hist_fields import HistField, parse_key
from userevents.instance.hist_text import HistRefused

FIELDS = parse_fields("u64 a; s64 b; u64 p; char[8] c")
CONTEXT = Driven()


def _value(text: str, a: int = 0, b: int = 0, p: int = 0) -> int:
    return parse_key(text, FIELDS).number(bytes(8) + struct.pack("<QqQ8x", a, b, p), CONTEXT)


@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1))
def test_fields_are_computed_with_in_64_bits(a: int, b: int, p: int) -> None:
    """Multiplication and division before addition, from the left; what is divided by 0 is the largest number."""
    unsigned_b = b % 2**64
    assert _value("a+b*p-a", a, b, p) == (b * p) % 2**64
    assert _value("a-b-p", a, b, p) == (a - b - p) % 2**64
    assert _value("-(a+b)", a, b, p) == -(a + b) % 2**64
    assert _value("a/b", a, b, p) == (a // unsigned_b if unsigned_b else 2**64 - 1)
    assert _value("a/8+1", a, b, p) == (a // 8 + 1) % 2**64


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1+2*3", "7"),
        ("0x10", "16"),
        ("2-3", "18446744073709551615"),
        ("10/3", "4"),
        ("1+2+a", "3+a"),
        ("a+1+2", "a+1+2"),
        ("-(1+2)", "-(3)"),
        ("x.y.a.hex-b.buckets=10", "a.hex-b.buckets"),
    ],
)
def test_numbers_that_stand_together_are_one(text: str, shown: str) -> None:
    """So the trigger's line shows it; a division of two small numbers rounds up, as the kernel's does."""
    assert parse_key(text, FIELDS).shown == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a+b+p+a+b", "Too many subexpressions (3 max)"),
        ("a+c", "String type can not be an operand in expression"),
        ("a/0", "Division by zero"),
        ("a+08", "Expecting numeric literal"),
        ("-(a)+b", "Unary minus not supported in sub-expressions"),
        ("a.usecs+1", "Timestamp units in expression don't match"),
        ("a*(b+1)", "Couldn't find field"),
    ],
)
def test_a_mistake_is_told_in_the_kernels_words(text: str, message: str) -> None:
    """EINVAL, but EDOM for the division."""
    with pytest.raises(HistRefused) as refused:
        parse_key(text, FIELDS)
    assert refused.value.message == message
    assert refused.value.errno == (33 if "/" in text else 22)


@given(st.text("ab1(-)+*/.0x ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """With our own error and no other."""
    try:
        parse_expression(text, lambda name: HistField("field", name))
    except Refused:
        pass
