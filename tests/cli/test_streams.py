"""Every verb's standard streams: closed ones, a full disk, a reader that leaves, and Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.formats.maker import Maker

USEREVENTS = [sys.executable, "-m", "userevents"]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A trace whose report is longer than a pipe holds."""
    maker = Maker()
    one = maker.session(100)
    for number in range(20_000):
        one.add_values(10**9 + number, 20, number)
    one.close()
    path = tmp_path_factory.mktemp("streams") / "t.dat"
    maker.trace(path)
    return str(path)


def started(*words: str) -> "subprocess.Popen[bytes]":
    """A verb of whose output the first line has come, and no more was read: it waits for its reader."""
    process = subprocess.Popen([*USEREVENTS, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def test_a_reader_that_goes_away_is_no_error_to_talk_about(trace: str) -> None:
    """`report | head` ends quietly."""
    with started("report", trace) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_ends_a_verb_by_its_signal_and_without_a_word(trace: str) -> None:
    """As it ends a program in C: a shell's loop around it ends, too."""
    with started("report", trace) as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert (process.returncode, said) == (-signal.SIGINT, b"")


def test_ctrl_c_while_the_command_line_is_being_loaded_is_no_traceback(tmp_path: Path) -> None:
    """On a busy machine that takes long enough to change one's mind."""
    (tmp_path / "click.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*USEREVENTS, "list"], capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_a_full_disk_behind_stdout_is_said_in_a_sentence(trace: str) -> None:
    """It is not the trace that is full, nor a traceback that helps."""
    for words in (("report", trace), ("hist", trace, "tick", "--key", "a", "--top", "0"), ("--help",)):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run([*USEREVENTS, *words], stdout=full, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (1, b"userevents: stdout: No space left on device\n")


def test_a_stderr_that_takes_nothing_costs_neither_the_trace_nor_the_exit_code(tmp_path: Path) -> None:
    """A full log, or a `2>&1 | tee` that was killed, is no reason to end a recording."""
    program = "import sys; sys.exit(3)"
    read, write = os.pipe()
    os.close(read)
    with Path("/dev/full").open("wb") as full, open(write, "wb") as nobody:
        for number, stderr in enumerate((full, nobody)):
            words = (
                "record",
                "-o",
                f"t{number}.dat",
                "--",
                sys.executable,
                "-S",
                "-c",
                program,
            )  # -S: there is a warning
            done = subprocess.run([*USEREVENTS, *words], cwd=tmp_path, stderr=stderr, check=False)
            assert done.returncode == 3
            assert (tmp_path / f"t{number}.dat").exists()


def test_closed_standard_streams_are_the_null_device(trace: str) -> None:
    """Not the number of the next file that is opened; a program that is started finds the same."""
    command = '"$@" >&- 2>&- <&-'
    program = "import os; open('made', 'w').write(' '.join(os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)))"
    for words, code in (
        (("report", trace), 0),
        (("query", trace, "-"), 1),
        (("report", "absent"), 1),
        (("record", "--provider", "none", "--", sys.executable, "-c", program), 0),
    ):
        done = subprocess.run(
            ["sh", "-c", command, "sh", *USEREVENTS, *words], cwd=Path(trace).parent, check=False, capture_output=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b""), words
    assert (Path(trace).parent / "made").read_text() == "/dev/null /dev/null /dev/null"
