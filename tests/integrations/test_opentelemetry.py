"""OpenTelemetry's real SDK: spans and log records as events."""

import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider

from userevents.integrations.opentelemetry import (
    ATTRIBUTES_SIZE,
    UserEventsLogRecordProcessor,
    UserEventsSpanProcessor,
    attributes_text,
)
from userevents.testing import PrivateTracer


@pytest.fixture(scope="module")
def tracer() -> trace.Tracer:
    """A tracer of a provider with our processor."""
    provider = TracerProvider()
    provider.add_span_processor(UserEventsSpanProcessor())
    return provider.get_tracer("shop")


def test_a_span_is_two_events_with_its_ids(user_events: PrivateTracer, tracer: trace.Tracer) -> None:
    """Parent, kind, status, times and attributes are the span's own."""

    def pay() -> None:
        with tracer.start_as_current_span("pay", kind=trace.SpanKind.CLIENT):
            time.sleep(0.002)
            raise ValueError("empty")

    with tracer.start_as_current_span("order", attributes={"user": "ann", "items": 2}) as order:
        try:
            pay()
        except ValueError:
            pass
    assert [(record.event, record.name) for record in user_events.records] == [
        ("otel_span_begin", "order"),
        ("otel_span_begin", "pay"),
        ("otel_span_end", "pay"),
        ("otel_span_end", "order"),
    ]
    paid, outer = user_events["otel_span_end"]
    ids = order.get_span_context()
    assert outer.trace_id == paid.trace_id == f"{ids.trace_id:032x}"
    assert (outer.span_id, paid.parent_id, outer.parent_id) == (f"{ids.span_id:016x}", f"{ids.span_id:016x}", "")
    assert (paid.kind, paid.status, outer.status) == ("CLIENT", "ERROR", "UNSET")
    assert outer.attributes == "user=ann items=2"
    assert outer.duration_ns > paid.duration_ns > 1_000_000
    assert abs(outer.start_unix_ns + outer.duration_ns - time.time_ns()) < 60e9


def test_attributes_are_bounded() -> None:
    """However many, and however long."""
    text = attributes_text({f"key{number}": "x" * 100 for number in range(1000)})
    assert len(text) == ATTRIBUTES_SIZE
    assert text.endswith("...")
    assert attributes_text(None) == ""


def test_a_log_record_carries_the_ids_of_its_span(user_events: PrivateTracer, tracer: trace.Tracer) -> None:
    """Outside of a span they are empty."""
    provider = LoggerProvider()
    provider.add_log_record_processor(UserEventsLogRecordProcessor())
    logger: Any = provider.get_logger("shop")
    with tracer.start_as_current_span("order") as span:
        logger.emit(severity_number=SeverityNumber.WARN, severity_text="WARN", body="low stock", attributes={"left": 1})
    logger.emit(body={"any": "thing"})
    first, second = user_events["otel_log"]
    assert first.span_id == f"{span.get_span_context().span_id:016x}"
    assert (first.severity, first.severity_text, first.body, first.attributes) == (13, "WARN", "low stock", "left=1")
    assert (second.trace_id, second.span_id, second.severity, second.body) == ("", "", 0, "{'any': 'thing'}")
