"""The kernel and the root file system that `./dev kernel` boots: found in a cache, or built from Debian packages.

Both files hang together with the recipe in this file: another recipe, another directory of the cache.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.environment import clean_environment
from tools.progress import StepFailed, Steps

CACHE_VARIABLE: Final = "USEREVENTS_KERNEL_CACHE"
HERE: Final = Path(__file__).resolve().parent
FRAGMENT: Final = HERE / "kernel.fragment"
INIT: Final = HERE / "guest" / "init"
SOURCE: Final = Path("/usr/src/linux-source-6.12.tar.xz")
_KERNEL: Final = "bzImage"
_ROOT_FILES: Final = "initramfs.cpio"
_SCHEME: Final = 1  # raise it when images built by older versions of this file will not do
_APPLETS: Final = "sh mount umount ls cat echo poweroff sleep mkdir ln dmesg grep chmod ps id su head tail env timeout"
_NOT_IN_GUEST: Final = ("test", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-3*", "pydoc_data", "__pycache__")

# fmt: off
_NEEDED: Final = {
    "qemu-system-x86_64": "qemu-system-x86", "gcc": "gcc", "make": "make", "flex": "flex", "bison": "bison", "bc": "bc",
    "cpio": "cpio", "xz": "xz-utils", "perl": "perl", "/bin/busybox": "busybox-static",
    str(SOURCE): "linux-source-6.12", "/usr/include/libelf.h": "libelf-dev",
    "/usr/include/openssl/opensslv.h": "libssl-dev",
}
# fmt: on
_MACHINE: Final = "qemu-system-x86_64"


class KernelUnavailable(Exception):
    """There is no kernel to ask, and it cannot be built; the message says why and what would help."""


class Image(NamedTuple):
    """What QEMU boots."""

    kernel: Path
    root_files: Path


def find() -> Image | None:
    """The image that is there already; None when it must be built.

    Raises `KernelUnavailable` when there is no QEMU, or when the directory named by hand holds none.
    """
    if shutil.which(_MACHINE) is None:
        raise KernelUnavailable(f"there is no {_MACHINE} to run a kernel in\n{_way_out([_NEEDED[_MACHINE]])}")
    given = os.environ.get(CACHE_VARIABLE)
    image = _image(Path(given) if given else place())
    if image.kernel.is_file() and image.root_files.is_file():
        return image
    if given:
        raise KernelUnavailable(
            f"{CACHE_VARIABLE}='{given}' holds no {_KERNEL} and {_ROOT_FILES}; without it they are built"
        )
    return None


def place() -> Path:
    """The directory of the cache for this recipe: shared by all checkouts of a user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    made_from = b"".join(path.read_bytes() for path in (FRAGMENT, INIT)) + f"{_SCHEME} {_APPLETS}".encode()
    return Path(base) / "userevents" / f"kernel-{hashlib.sha256(made_from).hexdigest()[:12]}"


def missing_packages() -> list[str]:
    """The Debian packages that building wants and this machine lacks."""
    missing = [_NEEDED[needed] for needed in _NEEDED if not shutil.which(needed) and not os.path.isfile(needed)]
    return missing if _interpreter() else [*missing, "python3"]


def install(packages: list[str], steps: Steps) -> None:
    """Install packages with apt-get; raises `KernelUnavailable`."""
    if shutil.which("apt-get") is None:
        raise KernelUnavailable(f"there is no apt-get here, and these packages are missing: {' '.join(packages)}")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    try:
        try:
            steps.run("packages", command)
        except StepFailed:
            steps.run("package lists", ["apt-get", "update", "-q"])
            steps.run("packages", command)
    except StepFailed as failed:
        raise KernelUnavailable(f"{failed}:\n{failed.tail}\n{_way_out(packages)}") from None


def build(steps: Steps) -> Image:
    """Build kernel and root file system into the cache: minutes of work for a processor, and 2 GB of disk meanwhile.

    Raises `KernelUnavailable` when packages are missing or a step fails.
    """
    packages = missing_packages()
    if packages:
        raise KernelUnavailable(f"building the kernel needs packages that are not installed\n{_way_out(packages)}")
    image = _image(place())
    with _alone(place(), steps):
        try:
            if not image.kernel.is_file():
                _build_kernel(place() / "build", image.kernel, steps)
            if not image.root_files.is_file():
                _build_root_files(place() / "root", image.root_files, steps)
        except StepFailed as failed:
            raise KernelUnavailable(
                f"step '{failed.what}' ended with status {failed.status}:\n{failed.tail}\nThe whole log: {steps.log}"
            ) from None
    return image


def _image(directory: Path) -> Image:
    return Image(directory / _KERNEL, directory / _ROOT_FILES)


def _way_out(packages: list[str]) -> str:
    command = f"apt-get install -y {' '.join(packages)}"
    return f"Debian 12 or newer: {command}\n(`./dev kernel build --install` does it, as root)"


@contextlib.contextmanager
def _alone(directory: Path, steps: Steps) -> Iterator[None]:
    """Let one process at a time build; those who waited find it done."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            steps.say("another ./dev is building the kernel; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_kernel(work: Path, wanted: Path, steps: Steps) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    steps.run("kernel: unpack", ["tar", "-C", str(work), "--strip-components=1", "-xf", str(SOURCE)])
    make = ["nice", "make", "-s", "-C", str(work)]
    steps.run("kernel: plainest configuration", [*make, "tinyconfig"])
    with (work / ".config").open("a", encoding="ascii") as config:
        config.write(FRAGMENT.read_text(encoding="ascii"))
    steps.run("kernel: our configuration", [*make, "olddefconfig"])
    kept = (work / ".config").read_text(encoding="ascii").splitlines()
    lost = [line for line in _ESSENTIAL if line not in kept]
    if lost:
        raise KernelUnavailable(f"the configuration lost {', '.join(lost)}: is '{SOURCE}' another version?")
    steps.run("kernel: compile (about 10 minutes)", [*make[:2], *make[3:], f"-j{os.cpu_count() or 1}", _KERNEL])
    _put(work / "arch" / "x86" / "boot" / _KERNEL, wanted)
    shutil.rmtree(work)


_ESSENTIAL: Final = ("CONFIG_USER_EVENTS=y", "CONFIG_HIST_TRIGGERS=y", "CONFIG_9P_FS=y", "CONFIG_SERIAL_8250_CONSOLE=y")
_ACCOUNTS: Final = {
    "passwd": "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
    "group": "root:x:0:\nuser:x:1000:\n",
}


def _build_root_files(root: Path, wanted: Path, steps: Steps) -> None:
    """Pack busybox, the distribution's Python with the libraries it loads, and the first process."""
    shutil.rmtree(root, ignore_errors=True)
    for directory in ("bin", "sbin", "dev", "proc", "sys", "tmp", "host", "etc", "root", "usr/bin", "usr/lib"):
        (root / directory).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin")
    for applet in _APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    python, library = _interpreter() or ("", "")
    shutil.copy2(python, root / "usr" / "bin")
    (root / "usr" / "bin" / "python3").symlink_to(os.path.basename(python))
    inside = root / library.lstrip("/")
    shutil.copytree(library, inside, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_IN_GUEST))
    for needed in _libraries([python, *glob.glob(f"{inside}/lib-dynload/*.so")]):
        copy = root / needed.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(needed, copy)  # follows links
    shutil.copy2(INIT, root / "init")
    for name, content in _ACCOUNTS.items():
        (root / "etc" / name).write_text(content, encoding="ascii")
    archive = wanted.with_suffix(".new")
    pack = f"find . | cpio -o -H newc -R 0:0 --quiet > {shlex.quote(str(archive))}"
    steps.run("root files: pack", ["sh", "-c", f"cd {shlex.quote(str(root))} && {pack}"])
    archive.rename(wanted)
    shutil.rmtree(root)


def _interpreter() -> tuple[str, str] | None:
    """The distribution's newest Python that will do, and its library: what is built into the guest."""
    found = [(int(path.rpartition(".")[2]), path) for path in glob.glob("/usr/bin/python3.[0-9][0-9]")]
    for minor, path in sorted(found, reverse=True):
        if minor >= 11 and os.path.isfile(f"/usr/lib/python3.{minor}/os.py"):
            return path, f"/usr/lib/python3.{minor}"
    return None


def _libraries(programs: list[str]) -> list[str]:
    """The shared libraries that programs and modules load, the loader among them."""
    wanted: set[str] = set()
    for program in programs:
        listing = subprocess.run(["ldd", program], capture_output=True, text=True, env=clean_environment(), check=False)
        for line in listing.stdout.splitlines():
            words = line.split()
            path = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
            if path.startswith("/"):
                wanted.add(path)
    return sorted(wanted)


def _put(made: Path, wanted: Path) -> None:
    """Give a file its name when it is complete."""
    half = wanted.with_suffix(".new")
    shutil.copyfile(made, half)
    half.rename(wanted)
