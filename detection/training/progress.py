"""How far a long run has come, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

EVERY_S = 5.0


def clock(seconds: float) -> str:
    """Return seconds as h:mm:ss, or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass
class Progress:
    """Counts steps and says on `stream`, at most every `every_s` seconds, how many are done and how long it takes."""

    total: int
    name: str
    stream: TextIO
    every_s: float = EVERY_S
    now: Callable[[], float] = time.monotonic
    done: int = 0
    started: float = field(init=False)
    said: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.said = self.now()

    def step(self) -> None:
        self.done += 1
        if self.done == self.total or self.now() - self.said >= self.every_s:
            self.said = self.now()
            self.stream.write(f"{self.name} [{self.done}/{self.total}] {self.eta()}\n")
            self.stream.flush()

    def eta(self) -> str:
        """Return the time that has passed and, while steps are left, the time that these will take."""
        passed = self.now() - self.started
        left = (self.total - self.done) * passed / max(self.done, 1)
        return f"{clock(passed)} passed" + (f", ETA {clock(left)}" if self.done < self.total else "")
