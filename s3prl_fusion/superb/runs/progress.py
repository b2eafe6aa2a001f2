"""Progress for people: live bars on a terminal, plain lines where output goes to a file."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO

from ...text import seconds_text

LINE_SECONDS = 30.0  # between two plain lines about the same stage


class Display:
    """Shows how many stages are done, and the steps of each stage that runs now.

    Args:
        stages: How many stages there are in all.
        slots: How many run at a time.
        stream: Where to write; bars when it is a terminal, lines otherwise.
    """

    def __init__(self, stages: int, slots: int, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stages, self._done = stages, 0
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._last = [0.0] * slots
        self._labels = [""] * slots
        self._bars = []
        if self._live:
            from tqdm import tqdm

            total = tqdm(total=stages, desc="stages", position=0, file=self._stream, dynamic_ncols=True, leave=True)
            layout = "  {desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}]"
            rows = [
                tqdm(total=1, desc="idle", position=1 + slot, file=self._stream, leave=False, bar_format=layout)
                for slot in range(slots)
            ]
            self._bars = [total, *rows]

    def start(self, slot: int, label: str) -> None:
        """Show that a stage begins in a slot."""
        with self._lock:
            self._labels[slot], self._last[slot] = label, time.monotonic()
            if self._live:
                self._bars[1 + slot].reset(total=1)
                self._bars[1 + slot].set_description_str(label)
            else:
                self._line(f"{label} starts")

    def step(self, slot: int, done: int, total: int) -> None:
        """Show that the stage in a slot has done `done` of `total` steps."""
        with self._lock:
            if self._live:
                bar = self._bars[1 + slot]
                bar.total, bar.n = total, done
                bar.refresh()
            elif time.monotonic() - self._last[slot] >= LINE_SECONDS:
                self._last[slot] = time.monotonic()
                self._line(f"{self._labels[slot]} {done}/{total}")

    def end(self, slot: int, stages: int, note: str = "") -> None:
        """`stages` stages are done in a slot, or will not run any more."""
        with self._lock:
            self._done += stages
            if self._live:
                self._bars[0].update(stages)
                self._bars[1 + slot].set_description_str("idle")
        if note:
            self.say(note)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        with self._lock:
            if self._live:
                self._bars[0].write(text, file=self._stream)
            else:
                self._line(text)

    def close(self) -> None:
        """Remove the bars of the slots."""
        for bar in reversed(self._bars):
            bar.close()

    def _line(self, text: str) -> None:
        elapsed = seconds_text(time.monotonic() - self._started)
        print(f"[{elapsed}] [{self._done}/{self._stages} stages] {text}", file=self._stream, flush=True)
