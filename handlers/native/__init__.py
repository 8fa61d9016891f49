"""Portask's own protocol: lines that people type, and CBOR frames for programs. docs/protocol.md specifies it."""

from handlers.native.handler import NativeHandler

__all__ = ["NativeHandler"]
