"""Whatever the text or the bytes: a filter or a `FilterError`; and a filter means what it says."""

import operator
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import product

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from userevents.fields import Field, parse_fields
from userevents.fields.filter import (
    Filter,
    FilterError,
    filter_error_text,
    filter_file_text,
    parse_filter,
    syntax_problem,
    written_filter,
)
from userevents.fields.filter_cpus import parse_cpulist
from userevents.fields.filter_glob import Glob

ALL_SORTS = parse_fields(
    "u32 a; s8 b; char[8] c; __rel_loc char[] s; __data_loc char[] t; u64 e; s64 f; struct odd g 3; "
    "__data_loc cpumask_t[] m; u16 h; struct char[5] x 5"
)
NUMBERS = parse_fields("u8 a; s8 b; u16 c; s16 d; u32 e; s32 f; u64 g; s64 h")
RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": lambda held, wanted: held & wanted != 0,
}

Values = dict[str, int]
Model = Callable[[Values], bool]

WORDS = """
    a b c s t e f g m h x cpu comm common_pid stacktrace zz .ustring .function
    == != < <= > >= & ~ = && || | ! ( ) CPUS CPUS{ CPUS{0-3,5} CPUS{all} }
    0 1 -1 0x80 08 99999999999999999999 'x' "ab*" '*a[b-d]?' '!*' '[' ' "
"""
pieces = st.sampled_from([*WORDS.split(), "\t", "\xa0"])
operands = st.sampled_from(["a", "b", "c", "s", "t", "e", "f", "g", "m", "h", "x", "cpu", "comm", "common_type"])
right_sides = st.sampled_from(
    ["== 1", "& -1", "< 0x80", "!= 0", "== 'ab'", "~ '*b'", "~ '?b*'", "~ '!*b*'", "& CPUS{0-3}", "== CPUS{1}", "!= ''"]
)
predicates = st.builds("{} {}".format, operands, right_sides)
parts = st.lists(pieces | predicates, max_size=8)
nearly_filters = parts.map(" ".join) | parts.map("".join)


@given(st.text() | st.text(st.characters(max_codepoint=255)) | nearly_filters)
def test_any_text_gives_a_filter_or_a_filter_error(text: str) -> None:
    """Nothing else comes out, and whatever was refused can be shown."""
    error = refusal(text)
    if error is not None:
        assert error.name in ("EINVAL", "EPERM", "ENOENT", "ESRCH")
        shown = filter_file_text(filter_error_text(text, error))
        assert shown.startswith(text) or len(text) > 4095
    else:
        assert syntax_problem(text) is None


def refusal(text: str) -> FilterError | None:
    """Return the error that a filter gets, None if it is accepted."""
    try:
        parse_filter(text, ALL_SORTS)
    except FilterError as error:
        return error
    return None


def test_the_texts_hold_filters_and_every_sort_of_refusal() -> None:
    """The strategy above reaches accepted filters and each errno, so that the property is not empty."""

    def outcome(text: str) -> str:
        error = refusal(text)
        return "accepted" if error is None else error.name

    for wanted in ("accepted", "EINVAL", "EPERM", "ENOENT", "ESRCH"):
        find(
            nearly_filters,
            lambda text, wanted=wanted: outcome(text) == wanted,  # type: ignore[misc]
            settings=settings(max_examples=5_000, database=None, phases=[Phase.generate]),
        )


@given(st.binary(max_size=60))
def test_any_written_bytes_are_a_text_or_its_removal(data: bytes) -> None:
    """A write keeps a text without a NUL and without white space at its end."""
    text = written_filter(data)
    assert text is None or (text == text.rstrip(" \t\n\v\f\r\xa0") and "\0" not in text)


@given(predicates, st.binary(max_size=80), st.integers(0, 10_000), st.text())
def test_evaluation_never_raises_and_a_negation_says_the_opposite(
    predicate: str, record: bytes, cpu: int, comm: str
) -> None:
    """Any bytes, CPU and name give an answer, and `!` turns it round."""
    try:
        kept = parse_filter(predicate, ALL_SORTS, cpus=8)
    except FilterError:
        return
    answer = kept.matches(record, cpu=cpu, comm=comm)
    assert isinstance(answer, bool)
    assert parse_filter(f"!({predicate})", ALL_SORTS, cpus=8).matches(record, cpu=cpu, comm=comm) is not answer


def numbers_of(field: Field) -> st.SearchStrategy[int]:
    """Draw values that a field can hold, the borders and small ones among them."""
    low, high = (
        (-(1 << 8 * field.size - 1), (1 << 8 * field.size - 1) - 1) if field.signed else (0, (1 << 8 * field.size) - 1)
    )
    return st.integers(low, high) | st.sampled_from([low, high, 0, 1, 2])


spaces = st.sampled_from(["", " ", "\t"])


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Model]:
    """Draw one comparison of a number: its text, and what it means."""
    field = draw(st.sampled_from(NUMBERS))
    sign = draw(st.sampled_from(sorted(RELATIONS)))
    wanted = draw(numbers_of(field))
    spelled = draw(st.sampled_from(["{:d}", "{:#x}"])).format(wanted)
    relation = RELATIONS[sign]
    text = f"{field.name}{draw(spaces)}{sign}{draw(spaces)}{spelled}"
    return text, lambda values: relation(values[field.name], wanted)


def negated(term: tuple[str, Model]) -> tuple[str, Model]:
    """Put `!` before an expression in brackets."""
    return f"!({term[0]})", lambda values: not term[1](values)


def joined(terms: list[tuple[str, Model]], sign: str) -> tuple[str, Model]:
    """Join expressions, `or`s in brackets, by one sign."""
    both = all if sign == "&&" else any
    texts = [f"({text})" if "||" in text and sign == "&&" else text for text, _ in terms]
    return f" {sign} ".join(texts), lambda values: both(model(values) for _, model in terms)


expressions = st.recursive(
    comparisons(),
    lambda inner: (
        inner.map(negated) | st.builds(joined, st.lists(inner, min_size=2, max_size=4), st.sampled_from(["&&", "||"]))
    ),
    max_leaves=12,
)
values_of = st.fixed_dictionaries({field.name: numbers_of(field) for field in NUMBERS})


@given(expressions, st.lists(values_of, min_size=1, max_size=4))
def test_an_expression_evaluates_as_a_plain_python_model(expression: tuple[str, Model], rows: list[Values]) -> None:
    """`&&` before `||`, brackets, negations, widths and signs: the filter and Python agree on every record."""
    text, model = expression
    kept = parse_filter(text, NUMBERS)
    assert syntax_problem(text) is None
    for values in rows:
        body = b"".join(values[field.name].to_bytes(field.size, "little", signed=field.signed) for field in NUMBERS)
        assert kept.matches(bytes(8) + body, cpu=0, comm="") is model(values)


def truth(kept: Filter) -> list[bool]:
    """Evaluate a filter over every combination of three bits."""
    rows = product(range(2), repeat=3)
    return [kept.matches(bytes(8) + bytes(row), cpu=0, comm="") for row in rows]


logic = st.recursive(
    st.sampled_from(["a == 1", "b == 1", "c == 1"]),
    lambda inner: (
        st.builds("!{}".format, inner.filter(lambda text: "|" not in text and "&" not in text))
        | st.builds("({})".format, inner)
        | st.builds("!({})".format, inner)
        | st.builds("{}{}{}".format, inner, st.sampled_from([" && ", " || ", "&&", "||"]), inner)
    ),
    max_leaves=14,
)


@given(logic)
def test_precedence_is_that_of_python(text: str) -> None:
    """The same text with `and`, `or` and `not`, read by Python, has the same truth table."""
    fields = parse_fields("u8 a; u8 b; u8 c")
    python = text.replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    rows = [dict(zip("abc", row, strict=True)) for row in product(range(2), repeat=3)]
    assert truth(parse_filter(text, fields)) == [eval(python, {}, row) for row in rows]


plain_patterns = st.text("ab*?", max_size=8)


@given(plain_patterns, st.text("abc", max_size=8))
def test_plain_patterns_match_as_in_pythons_shell_patterns(pattern: str, text: str) -> None:
    """Where no class and no backslash is involved, the two kinds of pattern agree."""
    assert Glob(pattern.encode()).matches(text.encode()) is fnmatchcase(text, pattern)


@given(st.sets(st.sampled_from("abc]-^"), min_size=1), st.booleans(), st.sampled_from("abcd]-^!"))
def test_a_class_holds_its_members(members: set[str], inverted: bool, char: str) -> None:
    """A `]` first and a `-` last are members; `!` turns the class round, and `^` does not."""
    listed = "]" * ("]" in members) + "".join(sorted(members - set("]-"))) + "-" * ("-" in members)
    glob = Glob(f"[{'!' * inverted}{listed}]".encode())
    assert glob.matches(char.encode()) is ((char in members) is not inverted)


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_pattern_can_be_matched_against_any_text(pattern: bytes, text: bytes) -> None:
    """A pattern never raises, and one with every special character escaped matches itself and nothing else."""
    pattern, text = pattern.replace(b"\0", b""), text.replace(b"\0", b"")
    assert Glob(pattern).matches(text) in (True, False)
    escaped = b"".join(b"\\" + bytes([byte]) for byte in pattern)
    assert Glob(escaped).matches(text) is (text == pattern)


@given(st.sets(st.integers(0, 63)), st.sampled_from([",", " ", ", ", ",,"]))
def test_a_list_of_cpus_is_the_set_of_them(cpus: set[int], separator: str) -> None:
    """Single numbers, in any order and however separated, make a mask of just these."""
    mask = parse_cpulist(separator.join(map(str, cpus)), 64)
    assert mask == sum(1 << cpu for cpu in cpus)


@given(st.text("0123N-,:/ al\n", max_size=12))
def test_any_list_of_cpus_is_a_mask_or_refused(text: str) -> None:
    """No list names a CPU that is not there."""
    mask = parse_cpulist(text, 4)
    assert mask is None or 0 <= mask < 16
