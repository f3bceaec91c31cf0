"""Trace files: recordings finished into trace.dat, and any readable trace as one model, text, JSON or summary.

The files' bytes are drawn in docs/formats/recording.md and docs/formats/tracedat.md.
"""

from .finish import Finished, finish_recording, merge
from .ledger import Ledger
from .model import Event, Process, Record
from .recording import Recording
from .trace import Trace, open_trace

__all__ = [
    "Event",
    "Finished",
    "Ledger",
    "Process",
    "Record",
    "Recording",
    "Trace",
    "finish_recording",
    "merge",
    "open_trace",
]
