"""The events of each provider, as the kernel's declaration text: the one table that code, docs and tests go by.

Every event is declared when its provider starts: a tracer can enable only what it has heard of.
"""

LOGGING = (
    "py_log s32 level; u32 lineno; __rel_loc char[] logger; __rel_loc char[] message; __rel_loc char[] pathname; "
    "__rel_loc char[] function; __rel_loc char[] exception",
)

AUDIT = (
    "py_open s32 fd; u32 flags; char[8] mode; __rel_loc char[] path",
    "py_import __rel_loc char[] name; __rel_loc char[] path",
    "py_connect s32 fd; u16 family; u16 port; __rel_loc char[] address",
    "py_bind s32 fd; u16 family; u16 port; __rel_loc char[] address",
    "py_resolve u16 family; __rel_loc char[] host; __rel_loc char[] service",
    "py_popen u8 reached; __rel_loc char[] executable; __rel_loc char[] args; __rel_loc char[] cwd",
    "py_exec u8 reached; __rel_loc char[] path; __rel_loc char[] args",
    "py_posix_spawn u8 reached; __rel_loc char[] path; __rel_loc char[] args",
    "py_system u8 reached; __rel_loc char[] command",
    "py_sqlite_connect __rel_loc char[] database",
    "py_urlopen char[16] method; __rel_loc char[] url",
    "py_remove __rel_loc char[] path",
    "py_rename __rel_loc char[] path; __rel_loc char[] new_path",
    "py_kill s32 pid; s32 signal",
    "py_uncaught u32 lineno; __rel_loc char[] type; __rel_loc char[] message; __rel_loc char[] pathname",
)

GC = ("py_gc u8 generation; u32 collected; u32 uncollectable; u64 duration_ns",)

CALLS = (
    "py_enter __rel_loc char[] function",
    "py_leave u64 duration_ns; char[8] how; __rel_loc char[] function",
)
