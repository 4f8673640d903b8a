"""Where things stand at the prompt: what grows, the line that is typed, its completions, the status line."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition, has_completions, is_done
from prompt_toolkit.formatted_text import AnyFormattedText, StyleAndTextTuples
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    ScrollOffsets,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenuControl
from prompt_toolkit.layout.processors import HighlightIncrementalSearchProcessor, HighlightSelectionProcessor
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

Text = Callable[[], AnyFormattedText]


def layout(buffer: Buffer, above: Text, below: Text) -> Layout:
    """Return the layout around a buffer: `above` it what is being written, `below` it one line."""
    search = SearchToolbar(backward_search_prompt="search back: ", forward_search_prompt="search: ")
    line = Window(
        BufferControl(
            buffer,
            search_buffer_control=search.control,
            preview_search=True,
            input_processors=[HighlightIncrementalSearchProcessor(), HighlightSelectionProcessor()],
        ),
        get_line_prefix=_prefix,
        wrap_lines=True,
        dont_extend_height=True,
    )
    growing = Window(FormattedTextControl(above), dont_extend_height=True)
    status = Window(FormattedTextControl(below), height=1, style="class:status", dont_extend_height=True)
    menu = Window(
        CompletionsMenuControl(),
        width=Dimension(min=8),
        height=Dimension(min=1, max=8),
        scroll_offsets=ScrollOffsets(top=1, bottom=1),
        dont_extend_width=True,
        dont_extend_height=True,
        style="class:completion-menu",
    )
    return Layout(
        HSplit(
            [
                ConditionalContainer(growing, Condition(lambda: bool(above()))),
                line,
                search,
                ConditionalContainer(menu, has_completions & ~is_done),
                status,
            ],
            align=VerticalAlign.TOP,
        ),
        focused_element=line,
    )


def _prefix(number: int, wrapped: int) -> StyleAndTextTuples:
    return [("bold", "> ")] if number == 0 and wrapped == 0 else [("", "  ")]


def style() -> Style:
    """Return the colours of the prompt: few, and the terminal's own."""
    return Style.from_dict(
        {
            "status": "fg:ansibrightblack",
            "completion-menu": "bg:default fg:default",
            "completion-menu.completion": "bg:default fg:default",
            "completion-menu.completion.current": "bg:default fg:default reverse",
            "completion-menu.meta.completion": "bg:default fg:ansibrightblack",
            "completion-menu.meta.completion.current": "bg:default fg:ansibrightblack",
            "scrollbar.background": "bg:default",
            "scrollbar.button": "bg:ansibrightblack",
        }
    )
