"""`userevents lint`: what it shows, what it tells machines, and its exit codes."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from userevents.cli import main


def lint(*words: str, code: int = 0, stdin: bytes | None = None) -> Result:
    """Run the verb, which ends with `code`."""
    done = CliRunner().invoke(main, ["lint", *words], input=stdin)
    assert done.exit_code == code, done.output
    return done


def test_a_good_declaration_shows_its_layout() -> None:
    """Each field with offset, size and sign, and how large a payload is."""
    rows = [line.split(maxsplit=3) for line in lint("tick u32 count; char[20] name").stdout.splitlines()]
    assert ["8", "4", "no", "u32 count"] in rows
    assert ["12", "20", "yes", "char[20] name"] in rows
    assert "24 bytes or more" in lint("tick u32 count; char[20] name").stdout


def test_a_bad_declaration_has_a_caret_under_the_fault() -> None:
    """The caret stands under the word at fault, the message below it says why, and the exit code is 1."""
    text, caret, message, where = lint("tick u32 a; long b", code=1).stdout.splitlines()
    assert text[caret.index("^") :][: len(caret.strip())] == "long"
    assert message.startswith("error: [EINVAL] type 'long'")
    assert "column 13; every kernel" in where


def test_the_caret_counts_what_is_shown(tmp_path: Path) -> None:
    """Bytes that are shown as several characters, or several as one, do not move the caret."""
    file = tmp_path / "events"
    file.write_bytes("t\u00e9\x07 long b\n".encode())
    text, caret, *_ = lint("--file", str(file), code=1).stdout.splitlines()
    assert text[caret.index("^") :].startswith("long")


def test_many_declarations_come_from_files(tmp_path: Path) -> None:
    """A line each, with or without u:, comments and empty lines left out; a problem names file, line and column."""
    file = tmp_path / "events"
    file.write_text("# ours\n\nu:tick u32 a\nbad u33 a\n", encoding="utf-8")
    shown = lint("--file", str(file), code=1).stdout
    assert f"{file}:4:5: error: [EINVAL]" in shown
    assert "ok: a payload has 4 bytes" in shown
    assert "ok: a payload" in lint("--file", "-", stdin=b"tick u32 a\n").stdout


def test_the_profile_chosen_decides() -> None:
    """What only 6.4 refuses is a warning, or with --profile v6.4 the verdict; --strict fails for either."""
    assert "warning: [EINVAL] persistent" in lint("--persist", "tick u32 a").stdout
    lint("--persist", "--strict", "tick u32 a", code=1)
    lint("--persist", "--profile", "v6.12", "--strict", "tick u32 a")
    assert "error: [EINVAL] persistent" in lint("--persist", "--profile", "v6.4", "tick u32 a", code=1).stdout


def test_machines_get_one_object_a_declaration() -> None:
    """Verdicts by profile, problems with columns from 1 on, fields, sizes, and the format file where asked for."""
    good, bad = map(json.loads, lint("--json", "--format", "tick u32 a", "tick u33 a", code=1).stdout.splitlines())
    assert good["verdicts"] == {"v6.12": "ok", "v6.4": "ok"}
    assert good["fields"] == [{"type": "u32", "name": "a", "offset": 8, "size": 4, "signed": False}]
    assert good["format"].startswith("name: tick\n")
    assert bad["verdicts"] == {"v6.12": "EINVAL", "v6.4": "EINVAL"}
    assert (bad["problems"][0]["column"], bad["problems"][0]["size"], bad["fields"]) == (6, 3, None)


def test_nothing_to_examine_is_a_wrong_command_line() -> None:
    """Neither a declaration nor a file: exit code 2."""
    lint(code=2)
