"""`./dev kernel`: ask a real Linux 6.12 with user_events, in QEMU, and hold it against our tree.

Without a verb: the recorded vectors of the repository, then the client's tests, on both.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.environment import CACHE, ROOT, clean_environment
from tools.kernel import image as images
from tools.kernel import scenarios, suite
from tools.kernel.image import Image, KernelUnavailable
from tools.kernel.normalise import masked
from tools.progress import Steps

_VECTORS: Final = ROOT / "tests" / "vectors"
_KERNEL: Final = "linux-6.12"


def build(arguments: argparse.Namespace, steps: Steps) -> int:
    """Build the kernel and its root files, unless they are there; --install: get what is missing by apt-get first."""
    if arguments.install and (missing := images.missing_packages()):
        images.install(missing, steps)
    print(_image(steps).kernel.parent)
    return 0


def vectors(arguments: argparse.Namespace, steps: Steps) -> int:
    """Run recorded scenarios in the kernel and against our tree, and compare the two step by step."""
    return _compare(arguments.files, steps)


def ask(arguments: argparse.Namespace, steps: Steps) -> int:
    """Print what the kernel answers to scenarios, as a vector file: one line each, what varies masked."""
    asked = scenarios.load([arguments.file])
    for raw in scenarios.ask(_image(steps), asked, steps):
        print(json.dumps(masked(raw)))
    return 0


def test(_arguments: argparse.Namespace, steps: Steps) -> int:
    """Run the client's tests in the guest on the kernel's user_events, and here on ours, and compare the reports."""
    return suite.run(_image(steps), steps)


def everything(_arguments: argparse.Namespace, steps: Steps) -> int:
    """Do `vectors` with all that was recorded of this kernel, then `test`."""
    compared = _compare(
        sorted(_VECTORS.glob(f"{_KERNEL}/*.jsonl")) + sorted(_VECTORS.glob(f"racy/{_KERNEL}.jsonl")), steps
    )
    return suite.run(_image(steps), steps) or compared


def _compare(files: list[Path], steps: Steps) -> int:
    asked = scenarios.load(files)
    answers = scenarios.ask(_image(steps), asked, steps)
    failed = stale = 0
    for scenario, raw in zip(asked, answers, strict=True):
        verdict = scenarios.compare(scenario, raw)
        if verdict.ours is not None:
            failed += 1
            print(f"{verdict.name}: {scenarios.explain(verdict.ours, 'kernel', 'ours')}")
        if verdict.recorded is not None:
            stale += 1
            print(f"{verdict.name}: not as recorded: {scenarios.explain(verdict.recorded, 'recorded', 'kernel')}")
    if stale:
        print(f"{stale} times the kernel did not answer as recorded")
    print(f"{len(asked) - failed} passed, {failed} failed")
    return 1 if failed or stale else 0


def _image(steps: Steps) -> Image:
    return images.find() or images.build(steps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev kernel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{images.CACHE_VARIABLE}=DIRECTORY: boot its bzImage and initramfs.cpio. More: docs/kernel.md",
    )
    parser.set_defaults(verb=everything)
    verbs = parser.add_subparsers(metavar="VERB")

    def add(verb: Callable[[argparse.Namespace, Steps], int]) -> argparse.ArgumentParser:
        said = (verb.__doc__ or "").splitlines()[0]
        one = verbs.add_parser(verb.__name__, help=said, description=said)
        one.set_defaults(verb=verb)
        return one

    add(build).add_argument("--install", action="store_true", help="install missing Debian packages (as root)")
    add(vectors).add_argument("files", nargs="+", type=Path, metavar="FILE", help="format: tests/vectors/README.md")
    add(ask).add_argument("file", type=Path, metavar="FILE", help="scenarios; results in it are ignored")
    add(test)
    return parser


def main(arguments: list[str]) -> int:
    """Do what the first argument says; return 0, 1 when something differs, 2 when it cannot be done."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    steps = Steps("kernel", CACHE / "kernel.log", clean_environment())
    steps.begin()
    try:
        verb: Callable[[argparse.Namespace, Steps], int] = options.verb
        return verb(options, steps)
    except KeyboardInterrupt:
        print("\n./dev kernel: interrupted", file=sys.stderr)
        return 130
    except (KernelUnavailable, OSError, ValueError) as error:
        print(f"\n./dev kernel: {error}", file=sys.stderr)
        return 2


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
