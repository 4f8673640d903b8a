"""Gives people and places of "Sense and Sensibility" other names: a model that knows the novel knows none of them.

python -m benchmarks.renamed NOVEL.txt OUT.txt
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NAMES = {
    "Elinor": "Odile",
    "Marianne": "Thessaly",
    "Edward": "Lambert",
    "Dashwood": "Averell",
    "Jennings": "Pruett",
    "Willoughby": "Crandock",
    "Lucy": "Perpetua",
    "Brandon": "Haverling",
    "Ferrars": "Talbrook",
    "Middleton": "Osgood",
    "Barton": "Selwick",
    "Palmer": "Tindall",
    "Norland": "Quenby",
    "Fanny": "Harriet",
    "Steele": "Morrow",
    "Margaret": "Winifred",
    "Robert": "Basil",
    "Delaford": "Marnhull",
    "Cleveland": "Fordwell",
    "Devonshire": "Shropshire",
    "Charlotte": "Rosamund",
    "Allenham": "Brackley",
    "Morton": "Vane",
    "Combe": "Hythe",
    "Exeter": "Ludlow",
    "Nancy": "Dorcas",
    "Eliza": "Cecily",
    "Grey": "Lorne",
    "Gray": "Lorne",
    "Smith": "Pell",
    "Henry": "Cyril",
    "John": "Hugh",
    "Anne": "Ivy",
    "Sussex": "Rutland",
    "Jane Austen": "A Lady",
}
"""What each name becomes; in capitals too, and in the plural."""


def renamed(text: str) -> str:
    """Return the text under its other names."""
    for old, new in NAMES.items():
        text = re.sub(rf"\b{old}(?=s?\b)", new, text)
        text = re.sub(rf"\b{old.upper()}(?=S?\b)", new.upper(), text)
    return text.replace("SENSE AND SENSIBILITY", "THE SISTERS")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    Path(sys.argv[2]).write_text(renamed(Path(sys.argv[1]).read_text("utf-8")), "utf-8")
