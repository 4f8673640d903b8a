"""A completion as its reader sees it: the pieces of the message while it grows, then the finished call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import jiter

from localmem.processor.choosing import Choice
from localmem.processor.dialect import Dialect
from localmem.processor.interface import Calls, Completion, Prose, Shape
from localmem.processor.scheduler import Scheduler
from localmem.processor.work import Work
from localmem.records import Call


class LlamaGeneration:
    """One completion in the making; see `interface.Generation`. The decoding thread makes it, any thread reads it."""

    def __init__(
        self, scheduler: Scheduler, work: Work, dialect: Dialect, shape: Shape, *, grammar: bool, model: str
    ) -> None:
        self._scheduler, self._work, self._dialect = scheduler, work, dialect
        self._shape, self._grammar, self._model = shape, grammar, model
        self._started = False

    @property
    def overrule(self) -> Callable[[Choice], int] | None:
        """Sees every choice, where it is set, and says which token is taken instead; called where they are made."""
        return self._work.chooser.overrule

    @overrule.setter
    def overrule(self, follow: Callable[[Choice], int]) -> None:
        self._work.chooser.overrule = follow

    def start(self, then: Callable[[], None] | None = None) -> None:
        if not self._started:
            self._work.then = then
            self._scheduler.submit(self._work)
            self._started = True

    def cancel(self) -> None:
        self._scheduler.cancel(self._work)

    @property
    def over(self) -> bool:
        return self._work.over

    @property
    def completion(self) -> Completion:
        return self._finish()

    def __iter__(self) -> Iterator[str]:
        self._work.urge()
        self.start()
        shown = ""
        try:
            going = True
            while going:
                going = self._goes_on()
                message = self._message()
                if len(message) > len(shown) and message.startswith(shown):
                    yield message[len(shown) :]
                    shown = message
        finally:
            if not self._work.over:
                self.cancel()
                while self._goes_on():
                    pass
        if self._work.error is not None:
            raise self._work.error

    def _goes_on(self) -> bool:
        """Wait for the next step; False once it is over, for every reader and every time."""
        going = bool(self._work.progress.get())
        if not going:
            self._work.progress.put(None)
        return going

    def _message(self) -> str:
        """Return as much of the message as has been generated."""
        if isinstance(self._shape, Prose):
            return self._work.text.decode("utf-8", "ignore")
        written = self._work.text
        start = written.find(b"{")
        if start < 0:
            return ""
        text = written[start:].decode("utf-8", "ignore").encode()
        try:
            found = jiter.from_json(text, partial_mode="trailing-strings")
        except ValueError:
            return ""
        if not isinstance(found, dict) or found.get(self._dialect.function) != "send_message":
            return ""
        arguments = found.get(self._dialect.arguments)
        message = arguments.get("message") if isinstance(arguments, dict) else None
        return message if isinstance(message, str) else ""

    def _finish(self) -> Completion:
        work = self._work
        text = work.text.decode("utf-8", "ignore" if isinstance(self._shape, Prose) else "replace")
        called = work.complete and work.limits.tokens and isinstance(self._shape, Calls)
        call = self._call(text) if called else None
        return Completion(call, text, tuple(work.ids), work.usage(), cancelled=not work.complete)

    def _call(self, text: str) -> Call | None:
        if self._grammar:
            read = self._dialect.read(text)
        else:
            try:
                read = self._dialect.read_leniently(text)
            except ValueError:
                return None
        work = self._work
        return replace(read, ids=tuple(work.ids), model=self._model, cut=work.chooser.cut, usage=work.usage())
