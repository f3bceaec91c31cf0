"""What a real kernel did with declarations and filters, scenario by scenario, and how ours is compared with it."""

from pathlib import Path
from typing import Any, Final, NamedTuple

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "linux-6.12"

Step = dict[str, Any]


class Compared(NamedTuple):
    """One fact, as ours and as recorded."""

    kind: str
    where: str
    ours: object
    recorded: object


def latin(data: Any) -> str:
    """Turn a vector's text into kernel text, one character a byte."""
    if isinstance(data, dict):
        return bytes.fromhex(data["hex"]).decode("latin-1") if "hex" in data else str(data["latin1"])
    return str(data).encode().decode("latin-1")
