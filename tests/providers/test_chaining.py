"""The sitecustomize that a program would have had without us: found, executed and reported on by Python as ever."""

import subprocess
from pathlib import Path

import pytest

from tests.providers.conftest import Program


def both(program: Program, code: str) -> tuple["subprocess.CompletedProcess[str]", "subprocess.CompletedProcess[str]"]:
    """Run `code` where `lib/sitecustomize` is on the PYTHONPATH, without injection and with it."""
    env = {"PYTHONPATH": str(program.directory / "lib")}
    program.run("-c", "pass", providers=(), env=env, check=False)  # compiles it
    plain = program.run("-c", code, providers=(), env=env, check=False)
    return plain, program.run("-c", code, env=env, check=False)


def same(
    program: Program, code: str = "open('/dev/null').close(); print('main')"
) -> "subprocess.CompletedProcess[str]":
    """Check that injection changes nothing of what `code` says and how it exits, and return what it was."""
    plain, injected = both(program, code)
    assert (injected.returncode, injected.stdout, injected.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    return injected


IDENTITY = """
import sys
print(__name__, __file__, __package__, __cached__, __loader__.__class__, sys.path)
print(__spec__.name, __spec__.origin, __spec__.loader is __loader__, globals() is vars(sys.modules["sitecustomize"]))
VALUE = 42
"""


def test_the_next_sitecustomize_runs_as_python_runs_it(program: Program) -> None:
    """Its name, file, spec and place in sys.modules are those it would have had."""
    program.write("lib/sitecustomize.py", IDENTITY)
    done = same(program, "import sitecustomize; print(sitecustomize.VALUE, open('/dev/null').close())")
    assert f"sitecustomize {program.directory}/lib/sitecustomize.py" in done.stdout
    assert "42" in done.stdout
    assert program.events("py_open")


def test_the_next_sitecustomize_may_be_a_package(program: Program) -> None:
    """With modules of its own."""
    program.write("lib/sitecustomize/__init__.py", "from . import inner\n" + IDENTITY)
    program.write("lib/sitecustomize/inner.py", "print(__name__, __spec__.parent)")
    assert "sitecustomize.inner sitecustomize" in same(program).stdout


@pytest.mark.parametrize(
    "statement",
    [
        "raise ValueError('no way')",
        "import nothing_of_that_name",
        "raise ImportError('mine', name='sitecustomize')",
        "def broken(:",
        "import sys; sys.exit(7)",
        "raise KeyboardInterrupt",
    ],
)
def test_an_exception_in_the_next_sitecustomize_is_shown_as_python_shows_it(program: Program, statement: str) -> None:
    """Word for word, and the exit code is the same."""
    program.write("lib/sitecustomize.py", f"print('before', flush=True)\n{statement}\n")
    plain, injected = both(program, "print('program')")
    for done in (plain, injected):  # a traceback of a fatal error names the frames between, ours among them
        if "Fatal" in done.stderr:
            done.stderr = done.stderr.splitlines()[0] + done.stderr.splitlines()[-1]
    assert (injected.returncode, injected.stdout, injected.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_providers_start_although_the_next_sitecustomize_failed(program: Program) -> None:
    """Its failure does not stop the program, so it does not stop its events."""
    program.write("lib/sitecustomize.py", "raise ValueError('no way')")
    assert "Error in sitecustomize" in same(program).stderr
    assert program.events("py_open")


def test_providers_start_after_the_next_sitecustomize(program: Program) -> None:
    """It runs in the state it knows; what it imported already, logging for one, is watched all the same."""
    program.write("lib/sitecustomize.py", "import logging, sys; print([n for n in sys.modules if 'userevents' in n])")
    env = {"PYTHONPATH": str(program.directory / "lib")}
    done = program.run("-c", "import logging; logging.info('quiet')", providers=("logging",), env=env)
    assert done.stdout == "[]\n"
    done = program.run("-c", "import logging; logging.error('%d', 5)", providers=("logging",), env=env, check=False)
    assert done.stderr == "ERROR:root:5\n"
    assert [event["message"] for event in program.events("py_log")] == ["5"]


def test_a_sitecustomize_of_a_virtual_environment_is_found(program: Program, tmp_path: Path) -> None:
    """It lies in site-packages, behind the standard library, where a distribution may keep one of its own."""
    import venv

    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "sitecustomize.py").write_text("print(__file__)")
    python = str(tmp_path / "env" / "bin" / "python")
    plain = subprocess.run([python, "-c", "pass"], capture_output=True, text=True, check=True)
    done = program.run("-c", "open('/dev/null')", python=python)
    assert done.stdout == plain.stdout
    assert done.stdout in (f"{site}/sitecustomize.py\n", "")
    assert program.events("py_open")
