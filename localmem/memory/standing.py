"""Which rows count: those of a turn that was taken back stay on disk and are passed over by every read."""

from __future__ import annotations


def standing(column: str) -> str:
    """Return the SQL condition that the turn in `column` was not taken back; it takes no parameter.

    Ids of turns are unique in a home, and 0 (an edit from outside a turn) always stands.
    """
    return f"{column} NOT IN (SELECT turn FROM undone)"


STANDING = standing("turn")
"""The condition for a table whose column is called `turn`."""
