"""The C extensions. Everything else about the package stands in pyproject.toml.

Each is optional: it has a twin in pure Python that does the same. Where there is no compiler, or no Python.h, nothing
is built, the twins are used, and a wheel made there says that it runs everywhere.
"""

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

LIMITED_API = "0x030B0000"
"""Python 3.11's stable ABI: one file for it and all that follow, save the free-threaded builds."""

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""Whether this Python has no GIL. It has no stable ABI either: there each version gets files of its own."""

MODULE_HEADER = "src/userevents/_module.h"

SOURCES = {
    "userevents.client._writer": ["src/userevents/client/_writer.c", "src/userevents/client/_exchange.c"],
    "userevents.buffer._pages": sorted(map(str, Path("src/userevents/buffer").glob("_pages*.c"))),
    "userevents.host._memory": ["src/userevents/host/_memory.c"],
    "userevents.doors.fuse._serve": ["src/userevents/doors/fuse/_serve.c"],
}


def extensions() -> list[Extension]:
    """Return what can be built for this Python: for the stable ABI where it has one."""
    if sys.implementation.name != "cpython":
        return []
    abi = [] if FREE_THREADED else [("Py_LIMITED_API", LIMITED_API)]
    return [
        Extension(
            name,
            sources,
            depends=[MODULE_HEADER, *sorted(str(path) for path in Path(sources[0]).parent.glob("*.h"))],
            py_limited_api=not FREE_THREADED,
            define_macros=abi,
            extra_compile_args=["-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra"],
        )
        for name, sources in SOURCES.items()
    ]


class Build(build_ext):
    """Build what the machine can build. Always from the source: a left-over object file must not stand in for it."""

    def initialize_options(self) -> None:
        """Start as usual, and rebuild everything."""
        super().initialize_options()
        self.force = True

    def build_extension(self, ext: Extension) -> None:
        """Build one extension, or say in one line why it is left out."""
        ext.optional = True  # nobody misses the file afterwards
        Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        try:
            super().build_extension(ext)
        except Exception as error:
            self.warn(f"{ext.name} is left out, its twin in pure Python is used: {error}")

    def copy_extensions_to_source(self) -> None:
        """Put new files beside the sources; programs that run go on with the old ones, which lose their names only."""
        for ext in self.extensions:
            (Path("src") / self.get_ext_filename(ext.name)).unlink(missing_ok=True)
        super().copy_extensions_to_source()


class Wheel(bdist_wheel):
    """A wheel is tagged by what is in it: cp311-abi3 with extensions (without GIL cp313-cp313t), else py3-none-any."""

    def finalize_options(self) -> None:
        """Ask for the stable ABI's tag."""
        if self.distribution.has_ext_modules() and not FREE_THREADED:
            self.py_limited_api = "cp311"
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag of what was really built."""
        if any(Path(self.bdist_dir or "").rglob("*.so")):
            return super().get_tag()
        self.root_is_pure = True
        return ("py3", "none", "any")


setup(ext_modules=extensions(), cmdclass={"build_ext": Build, "bdist_wheel": Wheel})
