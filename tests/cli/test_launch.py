"""Finding the program to run: what stands in the way is said as it is."""

import os
from pathlib import Path

import pytest

from userevents.cli.launch import find_or_fail, find_program
from userevents.errors import Unusable

NOBODY = 65534


def test_what_is_no_program_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    """A directory, a file without the right to be run, nothing at all; and nothing of either without a separator."""
    (tmp_path / "data").touch(mode=0o644)
    for name, problem in (("", "is a directory"), ("data", r"is not executable \(chmod"), ("none", "was not found$")):
        with pytest.raises(Unusable, match=problem):
            find_program(f"{tmp_path}/{name}")
    with pytest.raises(Unusable, match="was not found in PATH"):
        find_program("no-such-program-here")


def test_the_exit_code_goes_by_what_is_wrong_and_not_by_what_a_path_says(tmp_path: Path) -> None:
    """126 for what is there and cannot be run, 127 for what is not, wherever that would be."""
    place = tmp_path / "not found"
    place.mkdir()
    (place / "data").touch(mode=0o644)
    for name, code in (("data", 126), ("none", 127)):
        with pytest.raises(SystemExit) as ended:
            find_or_fail(f"{place}/{name}")
        assert ended.value.code == code


def test_a_program_behind_a_closed_directory_is_not_called_missing(tmp_path: Path) -> None:
    """Whether it is there cannot be seen, which is not the same."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(Unusable, match="is out of reach: a directory on the way"):
            find_program(f"{closed}/program")
    finally:
        os.seteuid(user)
