"""Tiny invented data sets in the official formats, written to a folder."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from localmem.bench.tasks import hidden_sentences, key_value, long_conversation


def write(path: Path, rows: Sequence[Any]) -> None:
    """Write rows as JSON lines, packed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pack: Callable[[bytes], bytes] = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_litm(data: Path) -> None:
    passages = [
        ("Moss ball", "The moss ball was named by Ada Quill in 1911."),
        ("Tin whistle", "A tin whistle has six holes."),
        ("Tin whistle", "A tin whistle has six holes."),
        ("Fog horn", "The first fog horn stood at Partridge Island."),
    ]
    asked = [
        ("who named the moss ball", ["Ada Quill"]),
        ("how many holes does a tin whistle have", ["6", "six"]),
        ("holes of a tin whistle", ["six"]),
        ("where did the first fog horn stand", ["Partridge Island"]),
    ]
    rows = [
        {"question": question, "answers": answers, "ctxs": [{"title": title, "text": text, "isgold": True}]}
        for (title, text), (question, answers) in zip(passages, asked, strict=True)
    ]
    write(data / "litm/nq-open-oracle.50-53.jsonl.gz", rows)
    chance = random.Random(1)
    for keys in key_value.LEVELS:
        records = []
        for _ in range(6):
            pairs = [[f"K{chance.random()}", f"V{chance.random()}"] for _ in range(keys)]
            records.append({"ordered_kv_records": pairs, "key": pairs[3][0], "value": pairs[3][1]})
        write(data / f"litm/kv-retrieval-{keys}_keys.0-5.jsonl.gz", records)


def write_bfcl(data: Path) -> None:
    folder = data / "bfcl_memory"
    entries, answers = [], []
    for scenario, conversations, messages, questions in (
        ("customer", 3, 4, 5),
        ("notetaker", 2, 2, 3),
        ("finance", 0, 0, 2),
    ):
        told = [
            {"id": f"p{c}", "question": [[say(f"{scenario} says {c}.{m}")] for m in range(messages)]}
            for c in range(conversations)
        ]
        if told:
            write(folder / f"memory_prereq_conversation/memory_{scenario}.json", told)
        for number in range(questions):
            name = f"memory_{number}-{scenario}-{number}"
            entries.append({"id": name, "question": [[say(f"{scenario} {number}?")]], "scenario": scenario})
            answers.append({"id": name, "ground_truth": ["138/85", "$49.99", "art contest"]})
    write(folder / "BFCL_v4_memory.jsonl", entries)
    write(folder / "possible_answer.jsonl", answers)


def say(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def write_longchat(data: Path) -> None:
    aspects = ["The impact of rain on roofs", "The benefits of whistling", "The future of soft cheese"]
    for level in long_conversation.TOPICS:
        rows = []
        for number in range(4):
            topics = [*aspects[number % 3 :], *aspects[: number % 3]]
            told = "".join(
                f"USER: I would like to discuss the topic of {topic.lower()}. \n ASSISTANT: Gladly. \n "
                f"USER: Why {topic.lower()}? \n ASSISTANT: Because. \n USER: Great, this is the end of {topic}."
                for topic in topics
            )
            prompt = f"Below is a record. Now the record start. {told} Now the record ends. What is first?"
            rows.append({"test_id": number, "prompt": prompt, "topics": str(topics)})
        write(data / f"longchat/topics_{level}.jsonl.xz", rows)
    for level in long_conversation.LINES:
        rows = []
        for number in range(4):
            lines = [f"line no {at}-{number}: REGISTER_CONTENT is <{at * 97 + 1000}>" for at in range(9)]
            prompt = (
                "A record of lines. Now the record start:\n\n" + "\n".join(lines) + "\n\nNow the record is "
                f"over. Tell me what is the <REGISTER_CONTENT> in line no 4-{number}? I need the number. "
            )
            rows.append({"prompt": prompt, "expected_number": 1388, "correct_line": f"{lines[4]}\n"})
        write(data / f"longchat/lines_{level}.jsonl.xz", rows)


def write_babi(data: Path) -> None:
    (data / "babi").mkdir(parents=True)
    (data / "corpora").mkdir()
    with tarfile.open(data / "babi/babi_v1-2_en_1k.tar.xz", "w:xz") as archive:
        for task in hidden_sentences.LABELS:
            gap, place = ("|", "kitchen") if task == "qa1" else ("\t", "garden")
            who = "Fred" if task == "qa5" else place
            waits = "".join(f"{at} Jeff waited {at} days.\n" for at in range(5, 44))
            text = "".join(
                f"1 Mary stood up {story}.\n2 Mary went to the {place}.\n3 Where is she? {gap}{who}{gap}2\n"
                f"4 Bill sat down {story}.\n{waits}44 Who is there? {gap}{who}{gap}2 4\n"
                for story in range(4)
            )
            for split in ("train", "test"):
                info = tarfile.TarInfo(f"en/{task}_of-facts_{split}.txt")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
    chosen = {task: [0, 1, 3, 6] for task in hidden_sentences.LABELS}
    (data / "babi/babilong_test_100_idxs.json").write_text(json.dumps(chosen))
    sentences = " ".join(f"Mr. Holt saw {number} grey geese over the long wall." for number in range(60))
    book = f'##### first\nA TITLE\n\nCHAPTER I\n\n{sentences}\n\n"So they were!" he said, and Mrs. Holt laughed.\n'
    (data / "corpora/austen_six_novels.txt.xz").write_bytes(lzma.compress(book.encode()))
