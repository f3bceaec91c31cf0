"""Traces as files of other formats: `export` streams one, whatever its size. docs/formats/export.md: what becomes what.

One file a format: how its records are coded (`transcode.Coding`), and what stands around them.
"""

from .export import FORMATS, Exported, Target, default_out, export
from .job import Endpoint, Sink

__all__ = ["FORMATS", "Endpoint", "Exported", "Sink", "Target", "default_out", "export"]
