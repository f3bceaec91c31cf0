"""compile.py DIRECTORY: for each line of input compile a C file with many headers; print how long it took, and its CPU.

Both in microseconds: the time that passed, and the compiler's own, which does not count what the neighbours do.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HEADERS = [
    "stdio",
    "stdlib",
    "string",
    "math",
    "time",
    "errno",
    "fcntl",
    "unistd",
    "pthread",
    "signal",
    "sys/socket",
    "sys/mman",
    "netinet/in",
    "regex",
]


def main(directory: str) -> None:
    """Compile until the input ends."""
    source = Path(directory, f"case{os.getpid()}.c")
    source.write_text("".join(f"#include <{name}.h>\n" for name in HEADERS) + "int main(void) { return 0; }\n")
    print("ready", flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["gcc", "-O1", "-o", f"{source}.out", source], check=True)
        took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        print(round(took * 1e6), round(cpu * 1e6), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
