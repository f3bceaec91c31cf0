"""The kernel's field types as annotations, and how a Python annotation becomes a field.

Each name is an `Annotated` alias, so a type checker sees the plain Python type and a declaration the C type.
Source: user_events contract, fields.md section 3.
"""

import typing
from typing import Annotated, TypeAlias


class CType:
    """A C type as written in a registration; `suffix` follows the field's name (a struct's size)."""

    __slots__ = ("suffix", "text")

    def __init__(self, text: str, suffix: str = "") -> None:
        self.text = text
        self.suffix = suffix

    def __repr__(self) -> str:
        return f"CType({self.text!r})"


def char(size: int) -> CType:
    """``Annotated[str, char(20)]``: a string of at most 20 bytes in the fixed part, ``char[20]`` (1 to 1024)."""
    return CType(f"char[{size}]")


def uchar(size: int) -> CType:
    """``Annotated[bytes, uchar(20)]``: ``unsigned char[20]`` (1 to 1024)."""
    return CType(f"unsigned char[{size}]")


def data_loc(ctype: str) -> CType:
    """``Annotated[str, data_loc("char[]")]``: a dynamic field whose offset counts from the record's start."""
    return CType(f"__data_loc {ctype}")


def rel_loc(ctype: str) -> CType:
    """``Annotated[bytes, rel_loc("u8[]")]``: a dynamic field whose offset counts from the field's end."""
    return CType(f"__rel_loc {ctype}")


def struct(tag: str, size: int) -> CType:
    """``Annotated[bytes, struct("point", 16)]``: an opaque structure of exactly `size` bytes."""
    return CType(f"struct {tag}", f" {size}")


u8: TypeAlias = Annotated[int, CType("u8")]
u16: TypeAlias = Annotated[int, CType("u16")]
u32: TypeAlias = Annotated[int, CType("u32")]
u64: TypeAlias = Annotated[int, CType("u64")]
s8: TypeAlias = Annotated[int, CType("s8")]
s16: TypeAlias = Annotated[int, CType("s16")]
s32: TypeAlias = Annotated[int, CType("s32")]
s64: TypeAlias = Annotated[int, CType("s64")]
f64: TypeAlias = Annotated[float, CType("struct f64", " 8")]
char8: TypeAlias = Annotated[str, char(8)]
char16: TypeAlias = Annotated[str, char(16)]
char32: TypeAlias = Annotated[str, char(32)]
char64: TypeAlias = Annotated[str, char(64)]
char128: TypeAlias = Annotated[str, char(128)]
char256: TypeAlias = Annotated[str, char(256)]

_PLAIN: dict[object, CType] = {
    int: CType("s64"),
    bool: CType("u8"),
    float: CType("struct f64", " 8"),
    str: CType("__rel_loc char[]"),
    bytes: CType("__rel_loc u8[]"),
}


def field_text(owner: str, name: str, annotation: object) -> str:
    """Return the kernel's text of one field, ``"u32 id"``, for a parameter and its annotation.

    Raises TypeError, naming event and parameter, for an annotation that is no field type.
    """
    ctype = _PLAIN.get(annotation) if isinstance(annotation, type) else None
    if ctype is None:
        for extra in getattr(annotation, "__metadata__", ()):
            if isinstance(extra, CType):
                ctype = extra
                break
        else:
            base = typing.get_args(annotation)
            ctype = _PLAIN.get(base[0]) if base and hasattr(annotation, "__metadata__") else None
    if ctype is None:
        raise TypeError(
            f"event '{owner}': parameter '{name}' is annotated {annotation!r}, which is no field type; use int, bool, "
            f"float, str, bytes, u8..u64, s8..s64, char8..char256, or Annotated[..., char(N)]"
        )
    return f"{ctype.text} {name}{ctype.suffix}"
