"""Numbers and layouts of perf.data files, as far as tracepoint samples need them. docs/formats/export.md, import.md.

Source: tools/perf/Documentation/perf.data-file-format.txt and perf_event_open(2).
"""

from struct import Struct
from typing import Final

MAGIC: Final = b"PERFILE2"
HEADER: Final = Struct("<8sQQQQQQQQQQQQ")
"""magic, its own size, size of an attr entry, attrs (offset, size), data (the same), event types, 256 feature bits."""
ATTR_SIZE: Final = 128
RECORD: Final = Struct("<IHH")
"""type, misc, bytes in all."""

TYPE_TRACEPOINT: Final = 2
RECORD_LOST: Final = 2
RECORD_COMM: Final = 3
RECORD_SAMPLE: Final = 9
RECORD_LOST_SAMPLES: Final = 13
RECORD_COMPRESSED: Final = 81
MISC_USER: Final = 2

SAMPLE_IP: Final = 1 << 0
SAMPLE_TID: Final = 1 << 1
SAMPLE_TIME: Final = 1 << 2
SAMPLE_ADDR: Final = 1 << 3
SAMPLE_READ: Final = 1 << 4
SAMPLE_CALLCHAIN: Final = 1 << 5
SAMPLE_ID: Final = 1 << 6
SAMPLE_CPU: Final = 1 << 7
SAMPLE_PERIOD: Final = 1 << 8
SAMPLE_STREAM_ID: Final = 1 << 9
SAMPLE_RAW: Final = 1 << 10
SAMPLE_IDENTIFIER: Final = 1 << 16
SAMPLE_TYPE: Final = SAMPLE_IDENTIFIER | SAMPLE_IP | SAMPLE_TID | SAMPLE_TIME | SAMPLE_CPU | SAMPLE_PERIOD | SAMPLE_RAW
READ_FORMAT_ID: Final = 4
ATTR_FLAGS: Final = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 18
"""mmap, comm, task, sample_id_all."""
FLAG_CLOCKID: Final = 1 << 25
CLOCKS: Final = {0: "real", 1: "mono", 4: "mono_raw", 7: "boot", 11: "tai"}
"""The trace clocks that CLOCK_* numbers of an attr mean."""

FEATURE_TRACING_DATA: Final = 1
FEATURE_HOSTNAME: Final = 3
FEATURE_OSRELEASE: Final = 4
FEATURE_ARCH: Final = 6
FEATURE_NRCPUS: Final = 7
FEATURE_EVENT_DESC: Final = 12
FEATURE_CLOCK_DATA: Final = 29

MAX_CPUS: Final = 65536
