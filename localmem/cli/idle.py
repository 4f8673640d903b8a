"""What is done while the person reads and types: new passages get their vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from localmem.cli.common import note


class Idle:
    """Indexes new passages in the background; the first time takes seconds, for the embedder is loaded."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def begin(self) -> None:
        """Start, unless it is under way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="idle")
            self._thread.start()

    def finish(self) -> None:
        """Wait for what was begun, and say so when it takes long; what went wrong is said too."""
        if self._thread is None:
            return
        self._thread.join(1.0)
        if self._thread.is_alive():
            note("indexing new passages ...")
            self._thread.join()
        self._thread = None
        if self._error is not None:
            note(f"new passages are found by their words only: {self._error}")
            self._error = None

    def _work(self) -> None:
        try:
            self._settle()
        except Exception as error:
            self._error = error
