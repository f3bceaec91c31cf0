"""OpenTelemetry's SDK: a span and a log record through the batch processors into exporters that throw them away.

CPU time of the whole process, since the batch processors work in threads.
"""

import time

from loop import serve
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

try:
    from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
except ImportError:  # before 1.36
    from opentelemetry.sdk._logs.export import LogExporter as LogRecordExporter
    from opentelemetry.sdk._logs.export import LogExportResult as LogRecordExportResult


class NoSpans(SpanExporter):
    """Throws spans away."""

    def export(self, spans):
        return SpanExportResult.SUCCESS


class NoLogs(LogRecordExporter):
    """Throws log records away."""

    def export(self, batch):
        return LogRecordExportResult.SUCCESS

    def shutdown(self):
        """Nothing is open."""

    def force_flush(self, timeout_millis=30000):
        """Nothing waits."""
        return True


traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(NoSpans(), max_queue_size=8192))
tracer = traces.get_tracer("bench")
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(NoLogs(), max_queue_size=8192))
log = logs.get_logger("bench")


def span(count: int) -> None:
    """Make a span with three attributes."""
    for number in range(count):
        with tracer.start_as_current_span("bench") as made:
            made.set_attribute("number", number)
            made.set_attribute("total", number)
            made.set_attribute("text", "hello world!")
    traces.force_flush()


def record(count: int) -> None:
    """Emit a log record with three attributes."""
    for number in range(count):
        log.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                body="bench",
                attributes={"number": number, "total": number, "text": "hello world!"},
            )
        )
    logs.force_flush()


serve({"span": span, "log": record}, time.process_time_ns)
