"""DMR-style questions: after four sessions the person asks about something they told.

In the manner of MemGPT's deep memory retrieval (DMR), and not that task: its questions were written by a
language model and its answers judged by one, over five sessions. Here both come from templates.

Source: Multi-Session Chat, sessions 1-4 of the test split (Xu et al. 2021), with the facts that annotators took
from each turn.
Protocol: all four sessions are played with their real text; the person is Speaker 1, who opens every session. Then
the person asks. A fact of the person that has one of the forms below ("I have a dog named Drunky.") makes a
question ("What is the name of my dog?") and its answer ("Drunky"), when the answer is at most four words and stands
in the very words of the turn it was taken from. Where several facts make the same question, each answer is right.
That makes 578 questions over 344 of the 501 dialogues. Right when the reply holds an answer, normalised, in whole
words; `rouge_l` gives ROUGE-L recall. All questions of a dialogue stand in a row, since they share its preparation.

One case: in session 1 the person says "I like drinks, I named my dog drunky. I like to play music. What about
you?", and three sessions of some 20 messages more follow; the person asks "What is the name of my dog?"; right is
"Drunky".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localmem.bench import chats
from localmem.bench.case import Anchor, Case, Material, Outcome, Task
from localmem.bench.scoring import holds_words, normalised, rouge_l_recall

SESSIONS = 4
LONGEST = 4
"""Words of the longest answer: what is longer is a story, not an answer."""

_NUMBERS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_I_AM = r"i(?: am|'m)"
_WISH = r"i(?:'d like| would like| would love| want| hope)"
_PET = "dog|cat|puppy|kitten|parrot|bird|horse|lizard|snake|hamster|monkey|raccoon|bearded dragon|pig|turtle|rabbit"
_KIN = (
    "mom|mother|dad|father|husband|wife|brother|sister|son|daughter|boyfriend|girlfriend|grandma|grandmother|grandpa|"
    "grandfather|uncle|aunt|cousin"
)
_INSTRUMENT = "guitar|piano|drums|violin|flute|trumpet|harmonica|cello|saxophone|bass|banjo|ukulele|keyboard"
_TRADE = (
    "accountant|actor|actress|baker|banker|barber|bartender|builder|carpenter|cashier|chef|clerk|coach|cook|dentist|"
    "designer|doctor|driver|editor|electrician|engineer|farmer|firefighter|fireman|fisherman|hairdresser|headmaster|"
    "homemaker|journalist|landlord|lawyer|librarian|lifeguard|manager|mechanic|musician|nanny|nurse|officer|pastor|"
    "photographer|pilot|plumber|preacher|producer|professor|programmer|realtor|salesman|scientist|secretary|surgeon|"
    "tailor|teacher|therapist|trainer|vet|veterinarian|waiter|waitress|welder|worker|zookeeper"
)
_NO_ANSWER = re.compile(
    r"\b(?:and|or|but|because|that|which|with|where|when|who|if|than|more|it|he|she|they|this|these|those|"
    r"there|here|one|him|her|them|for|so|not|very|my|our|their|his|in|at|on|as|with|during|down|all|"
    r"called|good|hard|night|lot|home|house|apartment|place|area|city|town|state|new|different|same|"
    r"own|myself)\b"
)
"""Words that an answer does not have: it would go on, point elsewhere or say nothing."""

_AROUND = re.compile(r"^(?:an?|the) | (?:right now|now|currently|too)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Template:
    """How a fact becomes a question: the group `slot` is the answer, the group `what` goes into the question."""

    fact: re.Pattern[str]
    question: str


def _template(fact: str, question: str) -> Template:
    return Template(re.compile(rf"{fact}[.!]*", re.IGNORECASE), question)


TEMPLATES = tuple(
    _template(fact, question)
    for fact, question in (
        (r"my (?:first )?name is (?P<slot>.+)", "What is my name?"),
        (
            rf"i (?:have|own) an? (?:\w+ )??(?P<what>{_PET}|{_KIN}|friend|neighbor) (?:named|called) (?P<slot>.+)",
            "What is the name of my {what}?",
        ),
        (
            rf"my (?:\w+ )??(?P<what>{_PET}|{_KIN}|friend|neighbor)(?:'s name is| is named| is called) (?P<slot>.+)",
            "What is the name of my {what}?",
        ),
        (r"my favou?rite (?P<what>[\w-]+(?: [\w-]+)?) is (?P<slot>.+)", "What is my favorite {what}?"),
        (
            r"(?P<slot>[\w' -]+) (?:is|are) my favou?rite (?P<what>[\w-]+(?: [\w-]+)?)(?<!s)",
            "What is my favorite {what}?",
        ),
        (r"i (?:currently )?work as an? (?P<slot>.+)", "What do I do for a living?"),
        (rf"{_I_AM} an? (?P<slot>(?:[\w-]+ )?(?:{_TRADE}))", "What do I do for a living?"),
        (r"i work (?:at|for|in) (?P<slot>.+)", "Where do I work?"),
        (r"i live (?:in|on|near) (?P<slot>.+)", "Where do I live?"),
        (r"i(?: am|'m| come) (?:originally )?from (?P<slot>.+)", "Where am I from?"),
        (r"i (?:grew up|was raised) (?:in|on) (?P<slot>.+)", "Where did I grow up?"),
        (r"i used to live in (?P<slot>.+)", "Where did I use to live?"),
        (r"i drive an? (?P<slot>.+)", "What do I drive?"),
        (
            rf"i (?:can |know how to |like to |love to )?play (?:the )?(?P<slot>(?:\w+ )?(?:{_INSTRUMENT}))",
            "Which instrument do I play?",
        ),
        (rf"{_I_AM} (?P<slot>\d+)(?: years old)?", "How old am I?"),
        (
            rf"my (?P<what>(?:older |younger )?(?:{_KIN})) (?:is|works as) an? (?P<slot>(?:\w+ )?(?:{_TRADE}))",
            "What does my {what} do for a living?",
        ),
        (
            rf"my (?P<what>(?:older |younger )?(?:{_KIN})) (?:was|worked as) an? (?P<slot>(?:\w+ )?(?:{_TRADE}))",
            "What did my {what} do for a living?",
        ),
        (
            rf"i have (?P<slot>{'|'.join(_NUMBERS[2:])}|\d+) (?P<what>[\w-]+(?: brothers| sisters)?)",
            "How many {what} do I have?",
        ),
        (rf"{_I_AM} (?:currently )?(?:studying|majoring in) (?P<slot>.+)", "What am I studying?"),
        (rf"{_I_AM} allergic to (?P<slot>.+)", "What am I allergic to?"),
        (rf"{_I_AM} (?:afraid|scared|terrified) of (?P<slot>.+)", "What am I afraid of?"),
        (rf"{_I_AM} (?:planning to move|moving) to (?P<slot>.+)", "Where am I moving to?"),
        (r"i volunteer (?:at|with|for) (?P<slot>.+)", "Where do I volunteer?"),
        (rf"{_WISH} to (?:be|become) an? (?P<slot>.+)", "What do I want to become?"),
        (rf"{_WISH} to (?:visit|travel to) (?P<slot>.+)", "Which place would I like to visit?"),
        (r"i speak (?P<slot>[A-Z]\w+)", "Which language do I speak?"),
        (r"i have (?P<slot>\w+) hair", "What color is my hair?"),
        (r"my hair is (?P<slot>\w+)", "What color is my hair?"),
        (r"i (?:like|love) the band (?P<slot>.+)", "Which band do I like?"),
        (r"i have a pet (?P<slot>.+)", "What kind of pet do I have?"),
    )
)
"""The first that matches a fact makes its question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answers: all that the person told in the form that makes this question."""

    text: str
    answers: tuple[str, ...]
    session: int


def questions(dialogue: chats.Dialogue) -> list[Question]:
    """Return the questions that a dialogue's facts make, in the order in which they were told."""
    made: dict[str, Question] = {}
    for fact in chats.facts(dialogue, chats.FIRST, SESSIONS):
        for text, answers in _asked(fact):
            before = made.get(text, Question(text, (), fact.session))
            made[text] = Question(text, tuple(dict.fromkeys((*before.answers, *answers))), before.session)
    return list(made.values())


def _asked(fact: chats.Fact) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the question of a fact with its answers, where one of them stands in the very words of its turn."""
    for template in TEMPLATES:
        match = template.fact.fullmatch(fact.text)
        if match is None:
            continue
        answers = _answers(match["slot"])
        if any(holds_words(turn.text, answer) for turn in fact.turns for answer in answers):
            what = match.groupdict().get("what") or ""
            yield template.question.format(what=what.lower()), answers
        return


def _answers(slot: str) -> tuple[str, ...]:
    """Return a slot without its article, a number both in words and in figures; nothing for no plain answer."""
    slot = _AROUND.sub("", slot.strip(" .!\"'"))
    words = normalised(slot).split()
    if not 1 <= len(words) <= LONGEST or "," in slot or _NO_ANSWER.search(" ".join(words)):
        return ()
    if slot.lower() in _NUMBERS:
        return slot, str(_NUMBERS.index(slot.lower()))
    if slot.isdigit():
        return slot, *_NUMBERS[int(slot) : int(slot) + 1]
    return (slot,) if len(slot) > 1 else ()


def cases(data: Path | None, seed: int) -> Sequence[Case]:
    """Return one case a question, all questions of a dialogue in a row."""
    return [
        Case(
            id=f"{dialogue.id}-{number}",
            material=Material(id=dialogue.id, sessions=chats.held(dialogue, chats.FIRST, SESSIONS)),
            question=question.text,
            gold=question.answers,
            detail={"session": question.session},
        )
        for dialogue in chats.dialogues(data, seed)
        for number, question in enumerate(questions(dialogue))
    ]


def score(case: Case, outcome: Outcome) -> float:
    """Return 1 when the reply holds an answer, in whole words."""
    return float(any(holds_words(outcome.reply, answer) for answer in case.gold))


def rouge_l(case: Case, outcome: Outcome) -> float:
    """Return the ROUGE-L recall of the answer that the reply holds most of."""
    return max(rouge_l_recall(outcome.reply, answer) for answer in case.gold)


_WHERE = "Packer et al. 2023, MemGPT (arXiv 2310.08560), deep memory retrieval, accuracy"
_DIFFERS = (
    "DMR's questions are written by a language model and its answers judged by one, after five sessions; "
    "here templates over four sessions, containment"
)

TASK = Task(
    name="dmr_style",
    title="DMR-style questions on multi-session chat",
    source=chats.SOURCE,
    metric="share of right answers",
    cases=cases,
    score=score,
    n=50,
    anchors=(
        Anchor("GPT-4 alone", 0.321, _WHERE, _DIFFERS),
        Anchor("MemGPT with GPT-4", 0.925, _WHERE, _DIFFERS),
    ),
)
