"""Every recipe of docs/recipes/containers.md in real containers, of Docker's or Podman's default profile.

No registry is asked: the image has empty directories only, and containers share this machine's /usr, this checkout and
its Python, read-only. What is done in a container is what a reader of the page would do.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.environment import PYTHON, ROOT

IMAGE: Final = "userevents-trial"
USER: Final = "1000:1000"
DATA: Final = "/sys/kernel/tracing/user_events_data"
EMPTY: Final = ("proc", "sys", "dev", "etc", "tmp", "run", "var", "usr", "root", "home", "opt", "trial")
LIMIT_S: Final = 60
PYTHON_PROGRAM: Final = """
from userevents import event, u32
@event
def tick(number: u32) -> None:
    "One."
for number in range(100):
    tick(number)
"""
FUSE_FOR_ALL: Final = ("-v", "{place}/fuse:/dev/fuse", "--device-cgroup-rule", "c 10:229 rwm")
SHARED: Final = ("-v", "{place}/runtime:/runtime", "-e", "USEREVENTS_DIR=/runtime")
HARDENED: Final = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Native(NamedTuple):
    """A container that runs a native program, and the door that it should have."""

    name: str
    door: str
    options: tuple[str, ...] = ()
    user: str = "0:0"


NATIVE: Final = (
    Native("root, nothing given", "socket"),
    Native("a user, nothing given", "socket", (), USER),
    Native("a user, hardened", "socket", HARDENED, USER),
    Native("root, --device /dev/fuse, SYS_ADMIN", "fuse", ("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN")),
    Native("a user, fuse, namespaces allowed", "fuse", (*FUSE_FOR_ALL, "--security-opt", "seccomp=unconfined"), USER),
    Native("a user, hardened, both", "fuse", (*HARDENED, *FUSE_FOR_ALL, "--security-opt", "seccomp=unconfined"), USER),
)


class Engine:
    """What runs containers, and the directory that they share with us."""

    def __init__(self, command: str, place: Path) -> None:
        self.command = command
        self.place = place
        shared = [Path("/usr"), ROOT, Path(sys.base_prefix), *_libraries()]
        self._volumes = [word for path in dict.fromkeys(shared) for word in ("-v", f"{path}:{path}:ro")]
        self.python = str(PYTHON)

    def words(self, options: tuple[str, ...], user: str, *command: str) -> list[str]:
        """Return the command line that runs a command in a new container."""
        given = [option.format(place=self.place) for option in options]
        own = ["--rm", "--network", "none", "-u", user, "-w", "/tmp", "-e", "HOME=/tmp", "-v", f"{self.place}:/trial"]
        return [self.command, "run", *own, *self._volumes, *given, IMAGE, *command]

    def userevents(self, options: tuple[str, ...], user: str, *words: str) -> list[str]:
        """The same for one of our verbs."""
        return self.words(options, user, self.python, "-P", "-m", "userevents", *words)

    def build(self) -> None:
        """Make the image."""
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for name in EMPTY:
                made = tarfile.TarInfo(name)
                made.type, made.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                tar.addfile(made)
            for link in ("bin", "sbin", "lib", "lib64"):
                made = tarfile.TarInfo(link)
                made.type, made.linkname = tarfile.SYMTYPE, f"usr/{link}"
                if Path("/", link).is_symlink():
                    tar.addfile(made)
        subprocess.run([self.command, "import", "-", IMAGE], input=whole.getvalue(), check=True, capture_output=True)


def _libraries() -> Iterator[Path]:
    return (Path(path) for path in ("/bin", "/lib", "/lib64") if Path(path).is_dir() and not Path(path).is_symlink())


def _told(words: list[str], *wanted: str, code: int = 0) -> str:
    """Run; return what differs from what is wanted, "" if nothing does."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    told = done.stdout + done.stderr
    missing = [text for text in wanted if text not in told]
    return "" if not missing and done.returncode == code else f"exit code {done.returncode}, without {missing}:\n{told}"


def _native(engine: Engine, case: Native) -> str:
    burst = ("/trial/burst", DATA, "beat", "0", "5")
    run = engine.userevents(case.options, case.user, "run", "--expect", "beat==5", "--", *burst)
    record = engine.userevents(case.options, case.user, "record", "-o", "/tmp/beat.dat", "--", *burst)
    return _told(run, f"(door: {case.door}", "1 expectation met") or _told(record, "5 events of 1 program")


def _python(engine: Engine) -> str:
    """Python programs, hardened as far as it goes."""
    words = ("record", "-e", "tick", "-o", "/tmp/tick.dat", "--", engine.python, "-c", PYTHON_PROGRAM)
    return _told(engine.userevents(HARDENED, USER, *words), "100 events of 1 program", "nothing lost")


class Beside:
    """A command that runs beside a trial; what it says goes to a file."""

    def __init__(self, engine: Engine, words: list[str], until: str) -> None:
        self._log = engine.place / f"{len(list(engine.place.glob('*.log')))}.log"
        with self._log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + LIMIT_S
        while until not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.terminate()
                raise OSError(f"it did not say '{until}': {self.said()}")
            time.sleep(0.05)

    def said(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8")

    def end(self, *, ask: bool = True) -> str:
        """End it, or wait for its own end; return what it said."""
        if ask:
            self.process.terminate()
        self.process.wait(LIMIT_S)
        return self.said()


def _all_of(said: str) -> str:
    """Return what is not as it should be in what a recorder said."""
    return "" if "100 events of 1 program" in said and "nothing lost" in said else said


def _recorder_outside(engine: Engine) -> str:
    """The recorder is the host's, the program in a container; they share the runtime directory."""
    runtime, trace = engine.place / "runtime", engine.place / "tick.dat"
    record = [engine.python, "-P", "-m", "userevents", "record", "-e", "tick", "-o", str(trace)]
    recorder = Beside(engine, ["env", f"USEREVENTS_DIR={runtime}", *record], "recording;")
    told = _told(engine.words(SHARED, "0:0", engine.python, "-c", PYTHON_PROGRAM))
    return told + _all_of(recorder.end())


def _sidecar(engine: Engine) -> str:
    """Tracer, recorder and program are each in a container; they share the runtime directory."""
    tracer = Beside(engine, engine.userevents(SHARED, "0:0", "serve"), "is the tracer")
    try:
        words = ("record", "-e", "tick", "-o", "/trial/side.dat", "--duration", "8s")
        recorder = Beside(engine, engine.userevents(SHARED, "0:0", *words), "recording;")
        told = _told(engine.words(SHARED, "0:0", engine.python, "-c", PYTHON_PROGRAM))
        return told + _all_of(recorder.end(ask=False))
    finally:
        tracer.end()


def _tree_from_outside(engine: Engine) -> str:
    """The host serves a tree, which a container has at the kernel's place, and needs no privilege for."""
    tree = engine.place / "tree"
    tree.mkdir()
    serve = [engine.python, "-P", "-m", "userevents", "serve", "--mount", str(tree), "--mode", "770", "--group", "1000"]
    server = Beside(engine, ["env", f"USEREVENTS_DIR={engine.place}/runtime", *serve], "files at")
    try:
        return _one_burst(engine, tree, (*HARDENED, "-v", f"{tree}:/sys/kernel/tracing"))
    finally:
        server.end()


def _tree_from_a_container(engine: Engine) -> str:
    """A container that sees the machine's processes serves a tree to others, by a shared directory."""
    tree = engine.place / "shared"
    tree.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tree], check=True)
    subprocess.run(["mount", "--make-shared", tree], check=True)
    try:
        (tree / "tracing").mkdir()
        given = ("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--pid", "host")
        place = ("-v", f"{tree}:/shared:rshared")
        words = ("serve", "--mount", "/shared/tracing", "--mode", "770", "--group", "1000")
        server = Beside(engine, engine.userevents((*given, *place, *SHARED), "0:0", *words), "files at")
        try:
            return _one_burst(engine, tree / "tracing", (*HARDENED, "-v", f"{tree}/tracing:/sys/kernel/tracing"))
        finally:
            server.end()
    finally:
        subprocess.run(["umount", "-R", "-l", tree], check=False)


def _one_burst(engine: Engine, tree: Path, options: tuple[str, ...]) -> str:
    """Run a native program in a container with these options, and look for its events in the tree."""
    (tree / "dynamic_events").write_text("u:beat u32 number\n", encoding="ascii")
    (tree / "events/user_events/beat/enable").write_text("1", encoding="ascii")
    told = _told(engine.words(options, USER, "/trial/burst", DATA, "beat", "0", "5"), "born: 1", "written: 5")
    trace = (tree / "trace").read_text(encoding="latin-1")
    return told or ("" if trace.count(": beat: ") == 5 else trace)


def _trials(engine: Engine) -> Iterator[tuple[str, Callable[[], str]]]:
    for case in NATIVE:
        yield f"native, {case.name}: {case.door}", lambda case=case: _native(engine, case)  # type: ignore[misc]
    for trial in (_python, _recorder_outside, _sidecar, _tree_from_outside, _tree_from_a_container):
        yield (trial.__doc__ or "").splitlines()[0], lambda trial=trial: trial(engine)  # type: ignore[misc]


def _succeeds(name: str, trial: Callable[[], str]) -> bool:
    started = time.monotonic()
    try:
        told = trial()
    except (OSError, subprocess.SubprocessError) as error:
        told = repr(error)
    took = time.monotonic() - started
    print(f"{'FAIL' if told else 'ok  '} {name.rstrip('.')}  {took:.1f} s\n{told}".rstrip(), flush=True)
    return not told


def main(arguments: list[str]) -> int:
    """Try all with the engine named (docker, podman); 1 if a recipe does not do what the page says."""
    command = (arguments or ["docker"])[0]
    if len(arguments) > 1 or shutil.which(command) is None or os.geteuid():
        print(f"containers: takes an engine that is installed, as root, not '{' '.join(arguments)}'", file=sys.stderr)
        return 2
    place = Path(tempfile.mkdtemp(prefix="userevents-containers-", dir="/dev/shm"))
    place.chmod(0o755)
    (place / "runtime").mkdir(mode=0o700)
    engine = Engine(command, place)
    try:
        source = str(ROOT / "tests" / "native" / "burst.c")
        built = ["gcc", "-static", "-D_GNU_SOURCE", "-O1", "-pthread", "-o", str(place / "burst"), source]
        for words in (built, ["mknod", "-m", "666", str(place / "fuse"), "c", "10", "229"]):
            subprocess.run(words, check=True)
        engine.build()
        failed = sum(not _succeeds(*trial) for trial in _trials(engine))
    finally:
        subprocess.run([command, "rmi", "-f", IMAGE], capture_output=True, check=False)
        shutil.rmtree(place)
    print(f"containers: {failed} failed")
    return 1 if failed else 0
