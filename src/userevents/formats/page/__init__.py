"""A trace as one web page that needs nothing else: `picture` gathers what it shows, `html` writes the page."""

from .html import page_of
from .picture import Limits, picture

__all__ = ["Limits", "page_of", "picture"]
