"""The documents tell the truth about the checkout: links resolve, verbs are described, code in them compiles."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.house.sources import PACKAGE, ROOT, package_files, short, tracked

LINK: Final = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
FENCE: Final = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

# Spelled in two parts, so that this file does not hold what it forbids.
FORBIDDEN: Final = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"),
        ("/tmp/", "plan"),
        ("/ro", "ot/"),
        ("../sha", "red"),
        ("pypi", ".org"),
        ("python", "hosted"),
        ("/opt/", "pypi"),
        ("/opt/", "wheels"),
    )
)


def _documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as the common forges make them."""
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken_links(path: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        if not aim.exists() or not aim.is_relative_to(ROOT):
            yield f"{short(path)}: {target} leads nowhere"
        elif anchor and aim.suffix == ".md" and anchor not in _anchors(aim):
            yield f"{short(path)}: {target}: no such heading"


def test_relative_links_lead_somewhere() -> None:
    """Every relative link in a document names a file of the checkout and, after the #, a heading in it."""
    problems = [problem for path in _documents() for problem in _broken_links(path)]
    assert not problems, "\n  ".join(["", *problems])


def test_every_verb_of_the_command_is_described() -> None:
    """Each verb of `userevents` appears, as one types it, in README.md or docs/cli.md."""
    if not (PACKAGE / "cli" / "__init__.py").exists():
        pytest.skip("there is no command line yet")
    import click

    from userevents import cli

    assert isinstance(cli.main, click.Group)
    ctx = click.Context(cli.main)
    verbs = cli.main.list_commands(ctx)
    assert verbs
    groups = {verb: command for verb in verbs if isinstance(command := cli.main.get_command(ctx, verb), click.Group)}
    verbs += [f"{name} {verb}" for name, group in groups.items() for verb in group.list_commands(ctx)]
    pages = [ROOT / "README.md", ROOT / "docs" / "cli.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages if page.exists())
    missing = [verb for verb in verbs if not re.search(rf"\buserevents {re.escape(verb)}\b", text)]
    assert not missing, f"in neither README.md nor docs/cli.md: {', '.join(missing)}"


def test_every_verb_of_dev_is_described_by_itself() -> None:
    """`./dev help` prints a line for each verb, and no verb is without one."""
    from tools import dev

    described = dict(line.split(maxsplit=1) for line in dev.usage().splitlines() if line.startswith("    "))
    assert set(described) == set(dev.VERBS)


def test_python_in_documents_compiles() -> None:
    """Each ```python block is a piece of Python; a console session is marked as something else."""
    problems = []
    for path in _documents():
        for language, code in FENCE.findall(path.read_text(encoding="utf-8")):
            if language != "python":
                continue
            try:
                compile(code, short(path), "exec")
            except SyntaxError as error:
                problems.append(f"{short(path)}: {error.msg} in {error.text!r}")
    assert not problems, "\n  ".join(["", *problems])


def test_examples_in_docstrings_are_true(runtime_dir: Path) -> None:
    """What a docstring of the package shows after >>> gives what it says, in a process that may declare events."""
    files = [path for path in package_files() if ">>> " in path.read_text(encoding="utf-8")]
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    assert modules
    program = (
        "import doctest, importlib, sys\n"
        "modules = [importlib.import_module(name.removesuffix('.__init__')) for name in sys.argv[1:]]\n"
        "results = [doctest.testmod(module) for module in modules]\n"
        "sys.exit(not all(result.attempted and not result.failed for result in results))"
    )
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """No tracked text holds a path of some machine, or the host of some package index."""
    problems = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        problems += [
            f"{short(path)}:{number}: {word}"
            for number, line in enumerate(lines, 1)
            for word in FORBIDDEN
            if word in line
        ]
    assert not problems, "\n  ".join(["", *problems])
