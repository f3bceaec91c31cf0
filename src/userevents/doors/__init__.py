"""Doors: ways into the tree from outside, one protocol each."""

from .policy import Peer, Policy
from .socket import Loop, SocketDoor

__all__ = ["Loop", "Peer", "Policy", "SocketDoor"]
