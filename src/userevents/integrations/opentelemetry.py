"""OpenTelemetry's spans and log records as events, with their trace and span ids as fields.

Processors, not exporters: an event is written when a span ends, in the thread in which it ends, and nothing is queued.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ..client import char8, char16, char32, event, s32, u64
from ..providers import guard

ATTRIBUTES_SIZE = 1024
"""Characters of all attributes of a span or log record that are kept; and so many of its body."""


@event
def otel_span_begin(trace_id: char32, span_id: char16, parent_id: char16, name: str) -> None:
    """A span began; the ids are hexadecimal, `parent_id` is empty for a root."""


@event
def otel_span_end(
    trace_id: char32,
    span_id: char16,
    parent_id: char16,
    name: str,
    kind: char8,
    status: char8,
    start_unix_ns: u64,
    duration_ns: u64,
    attributes: str,
) -> None:
    """A span ended; `attributes` is ``key=value`` text, cut at `ATTRIBUTES_SIZE` characters."""


@event
def otel_log(
    trace_id: char32, span_id: char16, severity: s32, severity_text: char16, body: str, attributes: str
) -> None:
    """A log record; `severity` is OpenTelemetry's number, 1 to 24. The ids are empty outside of a span."""


class UserEventsSpanProcessor(SpanProcessor):
    """``provider.add_span_processor(UserEventsSpanProcessor())``. No exception of it reaches the program."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Write `otel_span_begin`, if anybody listens."""
        if otel_span_begin:
            try:
                otel_span_begin(*_ids(span), span.name)
            except Exception as error:
                guard.absorb(error)

    def on_end(self, span: ReadableSpan) -> None:
        """Write `otel_span_end`, if anybody listens."""
        if otel_span_end:
            try:
                start, end = span.start_time or 0, span.end_time or 0
                kind, status = span.kind.name[:8], span.status.status_code.name
                attributes = attributes_text(span.attributes)
                otel_span_end(*_ids(span), span.name, kind, status, start, max(end - start, 0), attributes)
            except Exception as error:
                guard.absorb(error)


class UserEventsLogRecordProcessor(LogRecordProcessor):
    """``logger_provider.add_log_record_processor(UserEventsLogRecordProcessor())``."""

    def on_emit(self, log_record: Any) -> None:
        """Write `otel_log`, if anybody listens."""
        if not otel_log:
            return
        try:
            record = log_record.log_record
            number = record.severity_number.value if record.severity_number is not None else 0
            body = "" if record.body is None else str(record.body)[:ATTRIBUTES_SIZE]
            text = (record.severity_text or "")[:16]
            trace_id = f"{record.trace_id:032x}" if record.trace_id else ""
            span_id = f"{record.span_id:016x}" if record.span_id else ""
            otel_log(trace_id, span_id, number, text, body, attributes_text(record.attributes))
        except Exception as error:
            guard.absorb(error)

    def shutdown(self) -> None:
        """Nothing is held back."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back."""
        return True


def _ids(span: ReadableSpan) -> tuple[str, str, str]:
    context, parent = span.get_span_context(), span.parent
    if context is None:
        return "", "", ""
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{parent.span_id:016x}" if parent else ""


def attributes_text(attributes: Mapping[str, Any] | None) -> str:
    """Return attributes as ``key=value`` text of at most `ATTRIBUTES_SIZE` characters; what is cut ends in ``...``.

    >>> attributes_text({"http.method": "GET", "tags": ("a", "b")})
    "http.method=GET tags=('a', 'b')"
    """
    parts, room = [], ATTRIBUTES_SIZE
    for key, value in (attributes or {}).items():
        part = f"{key}={value}"
        parts.append(part)
        room -= len(part) + 1
        if room < 0:
            break
    text = " ".join(parts)
    return text if len(text) <= ATTRIBUTES_SIZE else text[: ATTRIBUTES_SIZE - 3] + "..."
