"""Which function comes first: sixty messages whose right first call is known.

Source: written for this task, about six invented people.
Protocol: the agent knows a person from core memory, three notes in archival memory and an earlier conversation, and
is told one thing. Right is the kind of its first call, `nothing_to_remember` (of the memory step) aside:
- told, corrected: a fact that is new, or that core memory has otherwise: an edit of core memory;
- known: a question that core memory answers: the reply, without a search;
- stored: a question that only archival memory or the earlier conversation answers: a search; also right is a reply
  that holds the answer, since relevant memories may have been put beside the question;
- chat: a greeting, a pleasantry, a small task: the reply, and nothing kept.
The share of legal calls is counted apart, as in every task. Cases are one of every kind in turn.

One case, stored: core memory holds "Name: Oren Tally. Keeps nine beehives behind the old mill. ...". The person asks
"When did hive four get its mite treatment?"; right are `archival_memory_search`, `conversation_search` and
`conversation_search_date`, and a reply with "12 August".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localmem.bench.case import Case, Material, Outcome, Said, Task
from localmem.bench.scoring import contains
from localmem.functions.standard import EDITS_CORE, SILENT
from localmem.memory.core import DEFAULT_BLOCKS

SEARCHES = frozenset({"archival_memory_search", "conversation_search", "conversation_search_date"})
REPLY = frozenset({"send_message"})
RIGHT = {"told": EDITS_CORE, "corrected": EDITS_CORE, "known": REPLY, "stored": SEARCHES, "chat": REPLY}
"""The right first calls, by kind of message."""


@dataclass(frozen=True, slots=True)
class _Person:
    """What the agent knows of a person, and what they say next; each of `stored` with its right answers."""

    id: str
    core: str
    notes: tuple[str, ...]
    earlier: tuple[Said, ...]
    told: tuple[str, ...]
    corrected: tuple[str, ...]
    known: tuple[str, ...]
    stored: tuple[tuple[str, tuple[str, ...]], ...]
    chat: tuple[str, ...]


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return all cases, one of every kind in turn, in an order that the seed decides."""
    by_kind: dict[str, list[Case]] = {kind: [] for kind in RIGHT}
    for person in PEOPLE:
        material = Material(
            id=person.id,
            blocks=(replace(DEFAULT_BLOCKS[1], value=person.core),),
            passages=person.notes,
            sessions=(person.earlier,),
        )
        said: dict[str, Sequence[tuple[str, tuple[str, ...]]]] = {
            "told": [(text, ()) for text in person.told],
            "corrected": [(text, ()) for text in person.corrected],
            "known": [(text, ()) for text in person.known],
            "stored": person.stored,
            "chat": [(text, ()) for text in person.chat],
        }
        for kind, messages in said.items():
            for number, (text, gold) in enumerate(messages):
                by_kind[kind].append(
                    Case(
                        id=f"{person.id}-{kind}-{number}",
                        material=material,
                        question=text,
                        gold=gold,
                        detail={"kind": kind, "right": sorted(RIGHT[kind])},
                    )
                )
    chance = random.Random(seed)
    for every in by_kind.values():
        chance.shuffle(every)
    return [case for turn in zip(*by_kind.values(), strict=True) for case in turn]


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the first call is a right one, or when the reply holds an answer that had to be found."""
    right = case.detail["right"]
    assert isinstance(right, list)
    first = next((step.function for step in outcome.steps if step.function not in SILENT), "")
    return float(first in right or any(contains(outcome.reply, gold) for gold in case.gold))


PEOPLE = (
    _Person(
        id="oren",
        core="Name: Oren Tally. Keeps nine beehives behind the old mill.\n"
        "Plays the bassoon in the town band on Tuesdays.\nHis brother Jules repairs clocks.",
        notes=(
            "Hive log: hive four was treated against mites on 12 August.",
            "Honey fair in Brandel: opens at half past nine, our stall is number 27.",
            "Heather honey cake: forty minutes at 170 degrees.",
        ),
        earlier=(
            Said("The new smoker came today, from a shop in Tarn.", "Lovely. Does it draw well?"),
            Said("Very well. It is made of copper and cost 38 crowns.", "A fair price for copper."),
        ),
        told=(
            "From next week on the band rehearses in the school gym.",
            "My niece Odile is going to study geology.",
        ),
        corrected=(
            "It's twelve hives by now, not nine.",
            "Jules has given up clocks, these days he restores pianos.",
        ),
        known=("How many hives have I got?", "Which instrument do I play in the band?"),
        stored=(
            ("When did hive four get its mite treatment?", ("12 August", "August 12")),
            ("How much did my copper smoker cost?", ("38", "thirty-eight")),
        ),
        chat=("Evening! I'm just dropping in.", "Ha, you've cheered me up."),
    ),
    _Person(
        id="mirela",
        core="Name: Mirela Voss. Drives tram line 6 in Karsted.\n"
        "Her son Pavel is eleven and swims.\nLearns Portuguese in the evenings.",
        notes=(
            "Winter tyres: stored at Holm and Daughters until November.",
            "Swimming club: Pavel's lane is free on Mondays and Thursdays at five.",
            "Portuguese course: room 14, the teacher is Dona Graça.",
        ),
        earlier=(
            Said("Somebody left a violin case on my tram on Sunday.", "Did the owner turn up?"),
            Said("Yes, a man called Anselm Rook fetched it from the depot.", "It found its way home, then."),
        ),
        told=(
            "I've signed up for the night shift all through November.",
            "Pavel got a tortoise from his godfather, it's named Biscuit.",
        ),
        corrected=("They've moved me from line 6 to line 11.", "Pavel doesn't swim any longer, he fences."),
        known=("Which tram line is mine?", "Remind me, what language am I learning?"),
        stored=(
            ("Who is keeping my winter tyres?", ("Holm",)),
            ("Who came for the violin case?", ("Anselm", "Rook")),
        ),
        chat=("Nice to talk to you again.", "Give me a rhyme for 'lantern'."),
    ),
    _Person(
        id="tobin",
        core="Name: Tobin Ashgrove. Retired teacher of physics.\n"
        "Restores a wooden sailing boat named Marigold.\nHis doctor has told him to avoid salt.",
        notes=(
            "Boat papers: the hull was built at Esbry in 1958.",
            "Varnish: four coats, with twenty hours between them.",
            "Mooring: berth 52 at Lark Harbour, paid until April.",
        ),
        earlier=(
            Said("At the chandler's I met an old pupil, Wilma Pruett.", "What is she doing now?"),
            Said("She designs bridges in Halden.", "You must be proud of her."),
        ),
        told=(
            "My eyesight test is on the ninth of September.",
            "I've bought a second-hand telescope for the garden.",
        ),
        corrected=(
            "I've renamed the boat: she's the Kittiwake now.",
            "The doctor says salt is all right again, it's sugar I must avoid.",
        ),
        known=("What subject did I teach?", "What did my doctor tell me to avoid?"),
        stored=(
            ("Which berth have I got at Lark Harbour?", ("52", "fifty-two")),
            ("What does Wilma Pruett do for a living?", ("bridges", "bridge")),
        ),
        chat=("Fine weather for sanding planks, isn't it?", "How do magnets work, in one sentence?"),
    ),
    _Person(
        id="yara",
        core="Name: Yara Lindqvist. Owns a bookshop named The Paper Fox.\n"
        "Her business partner is Emeka.\nDoesn't eat mushrooms.",
        notes=(
            "Atlases come from Corvin Brothers: order before the fifth of the month.",
            "The shop's lease ends in February 2031.",
            "Stocktaking: the cellar shelves are counted last.",
        ),
        earlier=(
            Said("The poet Salome Dratt read in the shop last night.", "How many people came?"),
            Said("Sixty-four, we ran out of chairs.", "What a turnout."),
        ),
        told=(
            "My parents are moving to the seaside, to Fennick.",
            "On trains I always take the window seat.",
        ),
        corrected=(
            "Emeka has left the shop, my partner is Brigid now.",
            "The shop isn't The Paper Fox any more, it's The Ink Heron.",
        ),
        known=("What is my bookshop called?", "Which food do I refuse?"),
        stored=(
            ("When does the lease of the shop run out?", ("2031",)),
            ("Which poet read in the shop?", ("Salome", "Dratt")),
        ),
        chat=("That's kind of you to say.", "Suggest a title for a story about snow."),
    ),
    _Person(
        id="caspian",
        core="Name: Caspian Doyle. Works nights as a guard at the glass museum.\n"
        "Runs the village quiz every second Friday.\nHis car is a grey estate with a dented door.",
        notes=(
            "Quiz: the team that won in May was the Quiet Otters.",
            "Museum: the spare keys hang in room B7.",
            "Allotment: plot 18, the water is turned off from October.",
        ),
        earlier=(
            Said("The old lift in the museum got stuck on Wednesday.", "Was anybody inside?"),
            Said("Only Mr Lemaire, the curator, for twenty minutes.", "He will take the stairs for a while."),
        ),
        told=(
            "I'm having a hearing aid fitted in spring.",
            "My neighbour Hedda waters the plants when I'm away.",
        ),
        corrected=(
            "The quiz has moved to Saturdays.",
            "I sold the grey estate, I get about on a moped instead.",
        ),
        known=("Where is it that I work at night?", "What do I run every second Friday?"),
        stored=(
            ("In which room do the museum's spare keys hang?", ("B7",)),
            ("Who was stuck in the lift?", ("Lemaire", "curator")),
        ),
        chat=("Right, my shift is over, good night.", "Count from five down to one."),
    ),
    _Person(
        id="noor",
        core="Name: Noor Bellamy. Studies veterinary medicine in Astley, third year.\n"
        "Sings alto in a choir.\nShares a flat with Petra and Luc.",
        notes=(
            "Exams: pharmacology is on 3 June in hall C.",
            "Choir: the spring concert is in the church of St Bride.",
            "Flat: the landlord is Mr Okafor, rent is due on the second.",
        ),
        earlier=(
            Said("I spent the weekend on a farm, helping with the lambs.", "How many were born?"),
            Said("Seven. The smallest one was given the name Pocket.", "A fitting name."),
        ),
        told=(
            "I've decided to specialise in horses.",
            "Every Wednesday I tutor a boy called Rafe in maths.",
        ),
        corrected=("Luc has moved out, Dario has his room now.", "I don't sing alto any more but soprano."),
        known=("Who are my flatmates?", "What am I studying?"),
        stored=(
            ("On which day is my pharmacology exam?", ("3 June", "June 3", "3rd of June", "June 3rd")),
            ("What was the smallest lamb called?", ("Pocket",)),
        ),
        chat=("Sorry, wrong window, ignore me.", "What's seven times eight?"),
    ),
)

TASK = Task(
    name="calls",
    title="Right first call",
    source="sixty messages of six invented people, written for this task",
    metric="share of right first calls",
    cases=cases,
    score=score,
    systems=("grammar-off", "ours"),
    n=60,
    needs_data=False,
)
