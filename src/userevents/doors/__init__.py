"""Doors: ways into the tree from outside, one protocol each."""

from .socket import Loop, SocketDoor

__all__ = ["Loop", "SocketDoor"]
