"""From what the guest wrote to what stands in tests/vectors: mend what the machine does by chance, mask what varies.

Mended are three things that say nothing about user_events: a name that the kernel failed to keep for a process id,
need-resched in a trace line's flags, and the order of the names in `user_events_status`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.kernel.replay import Scenario
from tests.kernel.results import Result

_TRACE_LINE: Final = re.compile(
    r"^(?P<lead> *)(?P<comm>\S+)-(?P<pid>\d+)(?P<gap> +)(?P<tgid>\( *[\d-]+\) +)?(?P<cpu>\[\d{3}\])"
    r"(?P<flags> [^\s:]{4,6})?(?P<wide> +)(?P<time>\d+\.\d+|\d+)(?=: )",
    re.MULTILINE,
)
_LATENCY_LINE: Final = re.compile(
    r"^(?P<lead> *)(?P<comm>\S+)-(?P<pid>\d+)(?P<gap> +)(?P<cpu>\d)(?P<flags>\S{4,5})(?P<wide> +)(?P<time>\d+)"
    r"(?=us\S? *: )",
    re.MULTILINE,
)
_UNKNOWN_NAME: Final = "<...>"
_NAMES_OFF: Final = "norecord-cmd"
"""In the name of scenarios that turn the keeping of names off."""

_MASKS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"^(\tfield:[^;\n]*\[)-?\d*\];", re.MULTILINE), r"\1<uninit>];"),
    (re.compile(r"^\d+ (\d+) \d+ type: \d+$", re.MULTILINE), r"PID \1 NS type: <id>"),
    (re.compile(r"^[0-9a-f]{8} ([0-9a-f]{8}) [0-9a-f]{16} type: \d+$", re.MULTILINE), r"HEXPID \1 HEXNS type: <id>"),
    (re.compile(r"(latency trace v1.1.5 on )\S+"), r"\1<release>"),
    (re.compile(r"^ID: \d+$", re.MULTILINE), "ID: <id>"),
    (re.compile(r"^\[\s*\d+\.\d+\] ", re.MULTILINE), "[<ts>] "),
    (re.compile(r"^(# +\| +task: )(\S+)-(\d+)( .*)$", re.MULTILINE), r"\1\2-PPPPP\4"),
    (re.compile(r"(Unknown type )\d+"), r"\1<id>"),
)
_BYTES: Final = re.compile(r"(bytes): \d+")
_MULTI_SUFFIX: Final = re.compile(r"(?<=[^\s./])\.([0-9a-f]+)\b")
_MULTI_RANGE: Final = 64


def mended(raw: Scenario) -> list[Result]:
    """The results of one scenario as the guest wrote it, without what happened by chance."""
    names = {} if _NAMES_OFF in raw["name"] else raw["meta"]["names"]
    return [_each_text(result, lambda text: _sorted_names(_mend(text, names))) for result in raw["results"]]


def masked(raw: Scenario) -> Scenario:
    """The scenario as it is recorded: `meta` gone, results mended, what differs from run to run masked."""
    first_multi = raw["meta"]["first_multi"]
    paths: dict[tuple[str | None, str], str] = {}
    results = []
    for step, result in zip(raw["steps"], mended(raw), strict=True):
        if step["op"] == "open":
            paths[step.get("proc"), step["fd"]] = step.get("path", "")
        path = step.get("path") or paths.get((step.get("proc"), str(step.get("fd"))), "")
        results.append(_masked_result(step["op"], path, result, first_multi))
    return {name: value for name, value in raw.items() if name not in ("meta", "outcomes")} | {"results": results}


def _masked_result(operation: str, path: str, result: Result, first_multi: int | None) -> Result:
    shown: Result = _each_text(result, lambda text: _mask(text, first_multi))
    if operation not in ("read_file", "read_fd") or shown["errno"] is not None:
        return shown
    if path.endswith("/id"):
        return shown | {"ret": "len", "data": "<id>"}
    if path.endswith("stats"):
        shown = _each_text(shown, lambda text: _BYTES.sub(r"\1: <n>", text))
    return shown | {"ret": "len"} if operation == "read_file" or shown != result else shown


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A result with `change` made to every text that was read."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: change(one) if name in ("data", "latin1") and isinstance(one, str) else _each_text(one, change)
        for name, one in value.items()
    }


def _mend(text: str, names: Mapping[str, str]) -> str:
    def lead(found: re.Match[str]) -> str:
        name = names.get(found["pid"])
        if found["comm"] != _UNKNOWN_NAME or name is None:
            return f"{found['lead']}{found['comm']}"
        return name[:15].rjust(len(found["lead"]) + len(_UNKNOWN_NAME))

    def trace_line(found: re.Match[str]) -> str:
        flags = found["flags"] or ""
        if len(flags) == 6:
            flags = flags[:2] + flags[2].replace("N", ".").replace("n", ".") + flags[3:]
        tgid, rest = found["tgid"] or "", found["wide"] + found["time"]
        return f"{lead(found)}-{found['pid']}{found['gap']}{tgid}{found['cpu']}{flags}{rest}"

    def latency_line(found: re.Match[str]) -> str:
        flags = found["flags"].replace("N", ".")
        return f"{lead(found)}-{found['pid']}{found['gap']}{found['cpu']}{flags}{found['wide']}{found['time']}"

    return _LATENCY_LINE.sub(latency_line, _TRACE_LINE.sub(trace_line, text))


def _sorted_names(text: str) -> str:
    if "\nActive: " not in text:
        return text
    head, separator, tail = text.partition("\nActive: ")
    names = sorted(line for line in head.split("\n") if line)
    return "".join(f"{name}\n" for name in names) + separator + tail if len(names) > 1 else text


def _mask(text: str, first_multi: int | None) -> str:
    def trace_line(found: re.Match[str]) -> str:
        pid = "PPPPP".ljust(len(found["pid"] + found["gap"]))
        tgid = re.sub(r"\( *[\d-]+\)", "(TGID)", found["tgid"] or "")
        time = "S.UUUUUU" if "." in found["time"] else "TICKS"
        return f"{found['lead']}{found['comm']}-{pid}{tgid}{found['cpu']}{found['flags'] or ''}  {time}"

    def latency_line(found: re.Match[str]) -> str:
        pid = "PPPPP".ljust(len(found["pid"] + found["gap"]))
        return f"{found['lead']}{found['comm']}-{pid}{found['cpu']}{found['flags']}  NNN"

    def multi_suffix(found: re.Match[str]) -> str:
        number = int(found[1], 16) - (first_multi or 0)
        return f".{{M{number}}}" if 0 <= number < _MULTI_RANGE else found[0]

    text = _LATENCY_LINE.sub(latency_line, _TRACE_LINE.sub(trace_line, text))
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text if first_multi is None else _MULTI_SUFFIX.sub(multi_suffix, text)
