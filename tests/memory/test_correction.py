"""A fact takes the place of the line that it tells anew, and of nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_acts import within

from localmem.errors import FunctionError
from localmem.memory.correction import LEAST, LONGEST, Line, corrected, telling
from localmem.memory.home import Home
from localmem.memory.memory import Memory
from localmem.records import Block

OLD = "Ada's dog Bruno sleeps in the kitchen"
NEW = "Ada's dog Bruno sleeps in the garden"


def human(*lines: str, label: str = "human", **more: object) -> Block:
    return Block(label, "\n".join(lines), 2000, **more)  # type: ignore[arg-type]


def values(memory: Memory) -> dict[str, str]:
    return {block.label: block.value for block in memory.blocks()}


def keep(memory: Memory, fact: str, label: str = "human") -> str:
    return memory.edit(lambda desk: desk.keep(label, fact))


@pytest.mark.parametrize(
    ("old", "fact"),
    [
        (OLD, NEW),
        (OLD, NEW.upper()),
        ("Nora Fishel and Eliza Woodley gave a concert", "Joren Sullivar and Eliza Woodley gave a concert"),
        ("4. The library in Leeds opens at nine on Sundays", "The library in Leeds opens at ten on Sundays"),
        ("私の犬の名前はレックスで、東京に住んでいます", "私の犬の名前はレックスで、大阪に住んでいます"),
        ("Собака Ады Бруно спит на кухне", "Собака Ады Бруно спит на балконе"),
        ("아다의 개 브루노는 부엌에서 잠을 잔다", "아다의 개 브루노는 정원에서 잠을 잔다"),
        ("ผมอยู่กรุงเทพและทำงานที่โรงพยาบาล", "ผมอยู่กรุงเทพและทำงานที่โรงเรียน"),
        ("كلب آدا برونو ينام في المطبخ", "كلب آدا برونو ينام في الحديقة"),
    ],
)
def test_a_line_with_most_words_in_common_gives_way(old: str, fact: str) -> None:
    assert corrected(fact, [human("Name: Ada", old, "Likes tea")]) == Line("human", old)


@pytest.mark.parametrize(
    ("old", "fact"),
    [
        ("Bruno is a dog", "Bruno is a cat"),
        ("My mother's birthday is in March", "My father's birthday is in May"),
        ("私の母の誕生日は三月です", "私の父の誕生日は五月です"),
        ("我妈妈的生日是三月", "我爸爸的生日是五月"),
        ("어머니의 생일은 삼월", "아버지의 생일은 오월"),
        (OLD, "Bruno, a dog, is afraid of thunder and sleeps badly when it storms"),
        (OLD, "Tea"),
        (OLD, ""),
        (OLD, "?! ..."),
        (OLD, "😀😀😀😀😀😀"),
        ("", NEW),
        ("\n\n", NEW),
    ],
)
def test_what_is_short_or_about_something_else_stays(old: str, fact: str) -> None:
    assert corrected(fact, [human(old)]) is None


def test_the_nearest_line_of_all_blocks_is_chosen_and_of_equals_the_newest() -> None:
    nearer = "Ada's old dog Bruno sleeps in the garden"
    blocks = [human("Ada's dog Bruno sleeps soundly", nearer), human(OLD, label="pets")]
    assert corrected("Ada's old dog Bruno sleeps in the hall", blocks) == Line("human", nearer)
    twins = [human("Ada's dog Bruno sleeps in Rome", "Ada's dog Bruno sleeps in Bonn")]
    assert corrected(NEW, twins) == Line("human", "Ada's dog Bruno sleeps in Bonn")


def test_a_line_that_stands_twice_or_within_another_is_left_alone() -> None:
    assert corrected(NEW, [human(OLD, "Likes tea", OLD)]) is None
    assert corrected(OLD, [human(OLD, f"{OLD} on a rug")]) == Line("human", f"{OLD} on a rug")


def test_a_long_paragraph_does_not_give_way_to_a_fact() -> None:
    line = f"{OLD} {'and more ' * 40}"
    assert len(line) > LONGEST
    assert corrected(NEW, [human(line)]) is None
    assert corrected(NEW, [human(line[:LONGEST])]) == Line("human", line[:LONGEST])


def test_the_agents_own_block_never_gives_way() -> None:
    me = "I am a friendly companion with a good memory"
    fact = "Ada is a friendly companion with a good memory"
    assert corrected(fact, [human(me, label="persona")]) is None
    assert corrected(fact, [human(me, label="persona"), human(me)]) == Line("human", me)


def test_words_of_every_sentence_tell_nothing() -> None:
    assert telling("What is the name of the dog?") == {"nam", "dog"}
    assert telling("") == telling("the of and") == set()


def test_what_was_kept_takes_the_place_of_the_line_in_whichever_block(memory: Memory) -> None:
    memory.put_block(human("Name: Ada", OLD, "Likes tea", label="pets"), "user")
    assert keep(memory, NEW) == OLD
    assert values(memory)["pets"] == f"Name: Ada\n{NEW}\nLikes tea"
    assert values(memory)["human"] == ""
    assert [v.block.value for v in memory.block_versions("pets")] == [
        f"Name: Ada\n{OLD}\nLikes tea",
        f"Name: Ada\n{NEW}\nLikes tea",
    ]


def test_a_new_fact_is_appended_where_it_was_to_go(memory: Memory) -> None:
    assert keep(memory, OLD) == ""
    assert keep(memory, "Likes tea") == ""
    assert values(memory)["human"] == f"{OLD}\nLikes tea"


def test_a_read_only_block_and_the_persona_keep_their_lines(memory: Memory) -> None:
    memory.put_block(human(OLD, label="rules", read_only=True), "user")
    memory.put_block(human(OLD, label="persona"), "user")
    assert keep(memory, NEW) == ""
    assert values(memory) == {"persona": OLD, "human": NEW, "rules": OLD}
    with pytest.raises(FunctionError, match="read-only"):
        keep(memory, "Likes tea", "rules")


def test_a_fact_over_the_limit_is_refused_whole_and_says_by_how_much(memory: Memory) -> None:
    memory.put_block(Block("human", OLD, len(OLD)), "user")
    before = memory.block_versions()
    result = within(memory, lambda desk: desk.keep("human", f"{NEW} by day"))
    over = len(f"{NEW} by day") - len(OLD)
    assert not result.ok
    assert f"{over} over its limit of {len(OLD)}" in result.text
    assert memory.block_versions() == before
    assert keep(memory, NEW) == OLD


@pytest.mark.parametrize("fact", [OLD, "Likes tea", " ", ""])
def test_what_is_there_already_or_nothing_is_refused(memory: Memory, fact: str) -> None:
    memory.put_block(human(OLD, "Likes tea"), "user")
    with pytest.raises(FunctionError):
        keep(memory, fact)
    assert values(memory)["human"] == f"{OLD}\nLikes tea"


words = st.sampled_from(
    ["Ada", "dog", "Bruno", "garden", "sleeps", "Rome", "the", "tea", "犬の名前は", "レックス", "спит"]
)
lines = st.one_of(
    st.lists(words, max_size=9).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
written = st.lists(lines, max_size=8).map("\n".join)


def lines_of(text: str) -> Counter[str]:
    return Counter(line for line in text.splitlines() if line)


@settings(max_examples=150, deadline=None)
@given(human=written, pets=written, rules=written, persona=written, fact=lines.filter(str.strip))
def test_at_most_one_line_is_gone_and_its_old_version_is_kept(
    human: str, pets: str, rules: str, persona: str, fact: str
) -> None:
    given = {"persona": persona, "human": human, "pets": pets, "rules": rules}
    blocks = [Block(label, text, 4000, read_only=label == "rules") for label, text in given.items()]
    there = any(fact in text for text in given.values())
    with TemporaryDirectory() as folder, Home.open(Path(folder)) as home:
        memory = home.create_agent("a", blocks=blocks)
        try:
            gone = keep(memory, fact)
        except FunctionError:
            assert values(memory) == given
            return
        now = values(memory)
        assert now["rules"] == rules
        assert now["persona"] == persona
        changed = [label for label in given if now[label] != given[label]]
        assert len(changed) == 1
        label = changed[0]
        assert lines_of(now[label]) == lines_of(given[label]) - Counter([gone]) + lines_of(fact)
        assert not gone or gone in given[label].splitlines()
        assert there or sum(fact in text for text in now.values()) == 1
        assert not gone or len(telling(gone) & telling(fact)) >= LEAST
        assert [v.block.value for v in memory.block_versions(label)] == [given[label], now[label]]
