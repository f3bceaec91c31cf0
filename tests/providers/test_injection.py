"""What a program may notice of being started under the injected environment: nothing, and its events are there."""

import ast
import os
import pkgutil
import subprocess
import sys
import venv
import zipapp
from pathlib import Path

import pytest

from tests.providers.conftest import Program
from userevents.providers.environment import INJECT

SITECUSTOMIZE = Path(INJECT, "sitecustomize.py")
STATE = """
import sys
print(sys.path, sys.argv, 'sitecustomize' in sys.modules, [p for p in sys.path_importer_cache if p.endswith('inject')])
open('/dev/null').close()
"""


def bare(program: Program, *argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with nothing injected."""
    return program.run(*argv, providers=(), env=env)


def test_the_injected_directory_offers_sitecustomize_and_nothing_else() -> None:
    """A second name there would shadow a module of the program's."""
    assert [module.name for module in pkgutil.iter_modules([INJECT])] == ["sitecustomize"]
    assert {path.name for path in Path(INJECT).iterdir()} <= {"sitecustomize.py", "sitecustomize.pyc", "__pycache__"}


def test_sitecustomize_is_written_for_any_python() -> None:
    """A Python too old for providers must get past it without a syntax error."""
    tree = ast.parse(SITECUSTOMIZE.read_text(), feature_version=(3, 4))
    modern = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr | ast.arg | ast.FunctionDef)
        and (not isinstance(node, ast.arg) or node.annotation is not None)
        and (not isinstance(node, ast.FunctionDef) or node.returns is not None)
    ]
    assert modern == []


def other_pythons() -> list[str]:
    """Return an interpreter of each version that is installed here, by package or by pyenv."""
    places = [*map(Path, os.get_exec_path()), *Path.home().glob(".pyenv/versions/*/bin")]
    found = [path for place in places for path in place.glob("python[23].*[0-9]") if "shims" not in path.parts]
    return sorted({path.name: str(path) for path in reversed(found)}.values())


@pytest.mark.parametrize("python", other_pythons())
def test_every_python_gets_past_it_and_those_that_can_start_the_providers(program: Program, python: str) -> None:
    """One that is too old runs as without injection, its own sitecustomize included."""
    program.write("lib/sitecustomize.py", "print('chained ' + __name__)")
    code = "import sys; open('/dev/null').close(); print('sitecustomize' in sys.modules)"
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    plain = program.run("-c", code, python=python, providers=(), env=env)
    assert program.run("-c", code, python=python, env=env).stdout == plain.stdout
    env["PYTHONPATH"] = str(program.directory / "lib")
    assert program.run("-c", code, python=python, env=env).stdout == "chained sitecustomize\nTrue\n"
    version = tuple(int(part) for part in Path(python).name.removeprefix("python").split("."))
    assert bool(program.log.exists()) == (version >= (3, 11))


@pytest.mark.parametrize("how", ["-c", "script", "-m"])
def test_sys_path_and_modules_look_as_without_injection(program: Program, how: str) -> None:
    """The program sees its own path, arguments and no sitecustomize, however it is started."""
    script = program.write("shown.py", STATE)
    argv = {"-c": ["-c", STATE, "-x"], "script": [script, "-x"], "-m": ["-m", "shown", "-x"]}[how]
    bare(program, *argv)  # compiles it, so that both runs find the same
    assert program.run(*argv).stdout == bare(program, *argv).stdout
    assert program.events("py_open")


@pytest.mark.parametrize("entries", ["", "{}/lib", ":{}/lib", "{}/lib:"])
def test_a_pythonpath_of_the_program_keeps_its_meaning(program: Program, entries: str) -> None:
    """Every entry stays, also the empty one that means the current directory; an empty variable means nothing."""
    old = entries.format(program.directory)
    show = "import sys; print(sys.path)"
    assert program.run("-c", show, env={"PYTHONPATH": old}).stdout == bare(program, "-c", show, PYTHONPATH=old).stdout


def test_importing_sitecustomize_by_hand_ends_as_without_injection(program: Program) -> None:
    """Where there is none it fails as it would; a distribution's own is found as it would be."""
    ask = "import sitecustomize; print(sitecustomize.__file__)"
    plain = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    done = program.run("-c", ask, check=False)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    assert done.stderr == plain.stderr


def test_a_userevents_package_of_the_program_is_not_shadowed(program: Program) -> None:
    """Any version it brings is what its import finds; ours lives under another name."""
    program.write("userevents/__init__.py", "VERSION = 'own'")
    script = program.write("main.py", "import userevents; print(userevents.VERSION, userevents.__file__)")
    assert program.run(script).stdout == f"own {program.directory}/userevents/__init__.py\n"
    assert {"name": "userevents", "path": ""} in program.events("py_import")


@pytest.mark.parametrize("how", ["script", "-m", "-c", "directory", "link"])
def test_a_file_named_as_a_standard_module_is_still_the_programs_own(program: Program, how: str) -> None:
    """The providers' own imports (json, in the stand-in client) must not take the name from it."""
    program.write("app/json.py", "OWN = 'mine'")
    script = program.write("app/__main__.py", "import json; print(json.OWN)")
    (program.directory / "link.py").symlink_to(script)
    code = "import os; os.chdir('app'); import json; print(json.OWN)"
    argv = {"script": [script], "-m": ["-m", "app"], "-c": ["-c", code], "directory": ["app"], "link": ["link.py"]}[how]
    if how == "-m":
        program.write("app/__init__.py", "")
        program.write("json.py", "OWN = 'mine'")
    if how == "-c":
        program.write("json.py", "raise SystemExit('imported too early')")
        (program.directory / "json.py").unlink()
        program.write("json/__init__.py", "OWN = 'mine'")
    assert program.run(*argv).stdout == "mine\n"
    assert program.events("py_import")


def test_a_file_named_as_a_standard_module_on_the_pythonpath_runs_when_the_program_imports_it(program: Program) -> None:
    """Neither earlier, for our sake, nor never."""
    program.write("lib/json.py", "print('own json runs')")
    done = program.run("-c", "print('program'); import json", env={"PYTHONPATH": str(program.directory / "lib")})
    assert done.stdout == "program\nown json runs\n"
    assert program.events("py_import")


def test_safe_path_and_user_site_settings_are_honoured(program: Program) -> None:
    """PYTHONSAFEPATH keeps the script's directory off the path, PYTHONNOUSERSITE the user's, as ever."""
    for name in ("PYTHONSAFEPATH", "PYTHONNOUSERSITE"):
        assert program.run("-c", STATE, env={name: "1"}).stdout == bare(program, "-c", STATE, **{name: "1"}).stdout
        assert program.events("py_open")
        program.log.unlink()


def test_usercustomize_runs_as_before(program: Program) -> None:
    """It comes after sitecustomize, from the user's own site directory."""
    base = {"PYTHONUSERBASE": str(program.directory / "user")}
    site = bare(program, "-c", "import site; print(site.getusersitepackages())", **base).stdout.strip()
    program.write(os.path.relpath(f"{site}/usercustomize.py", program.directory), "print('user')")
    python = os.path.realpath(sys.executable)  # a virtual environment leaves the user's site out
    assert program.run("-c", "print('program')", env=base, python=python).stdout == "user\nprogram\n"
    assert program.events("py_open")


def test_a_virtual_environment_without_userevents_is_reached(program: Program) -> None:
    """The package is loaded by path, not from the program's site-packages."""
    venv.create(program.directory / "env", with_pip=False, symlinks=True)
    python = str(program.directory / "env" / "bin" / "python")
    done = program.run("-c", "import sys; print(sys.prefix); open('/dev/null')", python=python)
    assert done.stdout == f"{program.directory}/env\n"
    assert program.events("py_open")


def test_a_zipapp_is_reached(program: Program) -> None:
    """A program in one file gets its providers like any other."""
    program.write("app/__main__.py", "import this_is_mine")
    program.write("app/this_is_mine.py", "print('zipped')")
    zipapp.create_archive(program.directory / "app", program.directory / "app.pyz")
    assert program.run("app.pyz").stdout == "zipped\n"
    assert {"name": "this_is_mine", "path": ""} in program.events("py_import")


CHILDREN = """
import multiprocessing, os, sys

def work(name):
    open("opened.txt", "w").close()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=work, args=("x",))
    child.start()
    child.join()
    print(child.pid, child.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_children_of_multiprocessing_emit_their_own_events(program: Program, method: str) -> None:
    """Whether they start anew or inherit memory."""
    script = program.write("children.py", CHILDREN)
    pid, code = program.run(script, method).stdout.split()
    opened = [
        where
        for where, fields in zip(program.pids("py_open"), program.events("py_open"), strict=True)
        if fields["path"] == "opened.txt"
    ]
    assert code == "0"
    assert opened.count(int(pid)) == 1


def test_a_child_of_subprocess_is_injected_too(program: Program) -> None:
    """The environment is inherited, although the parent took the directory off its own path."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os, glob; print(os.getpid())'])"
    child = int(program.run("-c", code).stdout)
    assert child in program.pids("py_import")


def test_a_sub_interpreter_runs_undisturbed(program: Program) -> None:
    """Python runs sitecustomize again in each of them."""
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
sub = interpreters.create()
interpreters.run_string(sub, "import json; open('/dev/null').close(); print('sub')")
interpreters.destroy(sub)
print('done')
"""
    assert program.run("-c", code).stdout == "sub\ndone\n"
    assert program.events("py_open")


@pytest.mark.parametrize("options", [["-X", "dev", "-W", "error"], ["-bb"], ["-O"], ["-B"], ["-W", "error", "-P"]])
def test_the_strictest_interpreter_finds_nothing_to_say(program: Program, options: list[str]) -> None:
    """No warning of ours, whatever is turned into an error."""
    code = "import subprocess, logging; subprocess.run(['true'], env={b'A': b'b'}); logging.info('x')"
    program.run(*options, "-c", code, providers=("logging", "audit", "gc"))
    assert program.events("py_popen")


def test_exit_code_and_output_are_the_programs(program: Program) -> None:
    """They pass through unchanged."""
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = program.run("-c", code, providers=("logging", "audit", "gc"), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_a_python_that_cannot_be_reached_runs_as_ever(program: Program, option: str) -> None:
    """It has no events, and no trouble."""
    assert program.run(option, "-c", "print('fine')").stdout == "fine\n"
    assert not program.log.exists()


def test_no_providers_named_starts_none(program: Program) -> None:
    """An emptied USEREVENTS_PROVIDERS turns the injection off in all that is started below."""
    env = program.environment(("audit",), {}) | {"USEREVENTS_PROVIDERS": ""}
    code = "import sys; print([name for name in sys.modules if 'userevents' in name])"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert not program.log.exists()


@pytest.mark.parametrize("debug", ["", "1"])
def test_trouble_while_starting_is_told_only_in_debug_mode(program: Program, debug: str) -> None:
    """The program runs either way."""
    env = {"FAKE_TROUBLE": "register", "USEREVENTS_DEBUG": debug}
    done = program.run("-c", "print('fine')", env=env, check=False)
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert ("the client broke in register()" in done.stderr) == bool(debug)
    assert debug or not done.stderr


def test_an_unknown_provider_does_not_keep_the_others_from_starting(program: Program) -> None:
    """A newer recorder may name one that this version does not have."""
    env = program.environment(("audit",), {}) | {"USEREVENTS_PROVIDERS": "telepathy,audit"}
    done = subprocess.run([sys.executable, "-c", "open('/dev/null')"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert program.events("py_open")


def test_starting_a_provider_again_changes_nothing(program: Program) -> None:
    """Its events would otherwise come twice."""
    code = """
import sys
providers = sys.modules["_userevents_injected.providers"]
print(providers.start(["audit", "gc"]), providers.start(["logging"]))
open("/dev/null").close()
"""
    assert program.run("-c", code).stdout == "['audit', 'gc'] ['logging']\n"
    assert [event["path"] for event in program.events("py_open")].count("/dev/null") == 1


def test_a_package_that_has_gone_leaves_the_program_alone(program: Program) -> None:
    """An environment outlives the installation that it was made for."""
    inject = program.directory / "a" / "providers" / "inject"
    inject.mkdir(parents=True)
    (inject / "sitecustomize.py").write_text(SITECUSTOMIZE.read_text())
    env = program.environment(("audit",), {}) | {"PYTHONPATH": str(inject)}
    done = subprocess.run([sys.executable, "-c", "print('fine')"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
