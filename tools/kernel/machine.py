"""Running something in the guest: a directory of the host becomes its /host, a command runs there, and it goes off."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.environment import ROOT
from tools.kernel.image import Image, KernelUnavailable
from tools.progress import StepFailed, Steps

ACCELERATOR_VARIABLE: Final = "USEREVENTS_KERNEL_ACCEL"
_LIMIT_S: Final = 3600
_CONSOLE: Final = "console=ttyS0 panic=-1 quiet loglevel=4"
_STATUS: Final = "status"
_SHARED: Final = ("src/userevents", "tools/kernel/guest", "tests/kernel/results.py")
PROJECT: Final = "/host/project"
"""Where the guest has the parts of the checkout that `workspace` copies."""


@contextmanager
def workspace(*more: str) -> Iterator[Path]:
    """A directory to share with the guest: in it, under ``project``, the package and what runs in the guest.

    `more` names further files or directories of the checkout.
    """
    with tempfile.TemporaryDirectory(prefix="userevents-kernel-") as made:
        for name in (*_SHARED, *more):
            source, copy = ROOT / name, Path(made) / "project" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, copy)
        yield Path(made)


def run(image: Image, shared: Path, what: str, command: Sequence[str], steps: Steps) -> int:
    """Boot, run `command` as root with `shared` at /host, power off; return the command's exit status.

    What it prints goes to the log of `steps`. Raises `KernelUnavailable` when the machine does not come that far.
    """
    script = f"cd /host\n{shlex.join(command)} 2>&1\necho $? > {_STATUS}\n"
    script += "dmesg | grep -E 'WARN|BUG|Oops|user_events' | tail -n 20\n"
    (shared / "cmd.sh").write_text(script, encoding="utf-8")
    try:
        steps.run(what, ["timeout", str(_LIMIT_S), *_machine(image, shared)])
        return int((shared / _STATUS).read_text(encoding="ascii"))
    except (OSError, ValueError):
        problem = "the guest went off without having run its command"
    except StepFailed as failed:
        problem = f"{failed}\n{failed.tail}"
    raise KernelUnavailable(f"{problem}\nThe whole log: {steps.log}") from None


def _machine(image: Image, shared: Path) -> list[str]:
    """The QEMU command. Emulation is the default: it works everywhere, also in machines that are virtual themselves."""
    kvm = os.environ.get(ACCELERATOR_VARIABLE) == "kvm"
    accelerator = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", "max"]
    files = f"local,path={shared},mount_tag=host,security_model=none,multidevs=remap"
    return [
        *("qemu-system-x86_64", "-machine", "q35", *accelerator, "-smp", "2", "-m", "1024"),
        *("-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"),
        *("-kernel", str(image.kernel), "-initrd", str(image.root_files), "-append", _CONSOLE, "-virtfs", files),
    ]
