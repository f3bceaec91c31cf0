"""The event of log records, which the integrations for logging libraries share."""

from ..client import event, from_context, s32, u32


@event
def log_record(
    level: s32,
    logger: str,
    message: str,
    pathname: str = "",
    lineno: u32 = 0,
    function: str = "",
    exception: str = "",
    context: str = from_context("*"),
) -> None:
    """One log record; `level` is logging's number, `context` what was bound (``request=7 user=x``)."""
