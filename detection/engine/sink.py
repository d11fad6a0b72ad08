"""How a decoding child hands back arrays and facts: written one by one into shared memory, indexed by JSON."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine.sandbox import ARRAYS_AT, DTYPES, HEADER

ALIGNMENT = 64


class Sink:
    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._end = ARRAYS_AT
        self._arrays: list[dict[str, Any]] = []

    def add(self, array: NDArray[Any]) -> int:
        """Store an array; returns its number among the answer's arrays."""
        if array.dtype.name not in DTYPES:
            raise TypeError(f"arrays of {array.dtype} are not handed over")
        entry = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": self._end}
        self._write(np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b""))
        self._end += -self._end % ALIGNMENT
        self._arrays.append(entry)
        return len(self._arrays) - 1

    def finish(self, value: dict[str, Any] | None, error: dict[str, str] | None) -> None:
        offset = self._end
        text = json.dumps({"value": value, "error": error, "arrays": self._arrays}).encode()
        self._write(memoryview(text))
        os.pwrite(self._memory, HEADER.pack(offset, len(text)), 0)

    def _write(self, content: memoryview) -> None:
        while content:
            written = os.pwrite(self._memory, content, self._end)
            self._end += written
            content = content[written:]
