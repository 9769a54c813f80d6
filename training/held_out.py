"""Draws the questions of tasks/mini: those of sums, chains and sorts occur nowhere in the training data.

The documents of a training stage are a stream from `random.Random(name of the stage)`. Training of the shipped parents
stopped after so many minutes, and how many documents it had seen by then is not recorded; so each stream is replayed
for many more than two cores could train on in that time, and what it asks is left out here, as it is asked: a task
may ask "23 + 45" where a document asked "45 + 23". Closed sets (30 words, 16 countries, 10 topics) cannot be held out:
their tasks ask all there is.

usage: python training/held_out.py OUT_DIR
"""

import json
import random
import sys
from pathlib import Path

import world

# Stage, style of its documents and minutes, as the commands of README.md train them; "mix" draws a style for each
# document.
STAGES = {
    "base": ("base", 32),
    "base2": ("mix", 9),
    "r1": ("reasoner", 4.5),
    "v3": ("direct", 4),
    "r1776": ("reasoner-open", 2.5),
}
# A step takes in 100 (reasoner-open) to 287 (direct) documents, so this would be 5.8 to 17 steps a second. One core of
# an AMD EPYC does 0.3 in float32; if all matrix products took no time at all, two would do 2.3.
DOCUMENTS_PER_MINUTE = 100_000
SEED = "held-out questions"


def questions_seen(name: str, style: str, documents: int) -> set[str]:
    """Sums, chains and sorts of a stage's first documents."""
    rng = random.Random(name)
    seen: set[str] = set()
    original = world.sample

    def recorded(generator: random.Random):
        problem = original(generator)
        if problem[0] in ("sum", "chain", "sort"):
            seen.add(problem[1])
        return problem

    world.sample = recorded
    try:
        for _ in range(documents):
            world.render(rng, style)
    finally:
        world.sample = original
    return seen


def draw(rng: random.Random, kind: str, count: int, seen: set[str]) -> list[dict]:
    """Fresh problems of a kind, each question once."""
    problems: dict[str, dict] = {}
    while len(problems) < count:
        found, question, _, value, _, _ = world.sample(rng)
        if found == kind and question not in seen:
            problems.setdefault(question, {"question": question, "answer": value})
    return list(problems.values())


def closed_sets(rng: random.Random) -> dict[str, list[dict]]:
    """Everything there is to ask of words, countries and topics; letters are drawn."""
    words = world.WORDS[:]
    rng.shuffle(words)
    letters = sorted({(word, letter) for word in world.WORDS for letter in word})
    rng.shuffle(letters)
    countries = list(world.CAPITALS.items())
    rng.shuffle(countries)

    def topics(facts: dict[str, str]) -> list[dict]:
        phrasings = world.PHRASINGS
        return [
            {"question": phrasings[(i + k) % len(phrasings)].format(topic), "answer": fact}
            for i in range(len(phrasings))
            for k, (topic, fact) in enumerate(facts.items())
        ]

    return {
        "reverse": [{"question": f"Spell {w} backwards.", "answer": " ".join(w[::-1])} for w in words],
        "count": [
            {"question": f"How many letters {letter} are in {word}?", "answer": str(word.count(letter))}
            for word, letter in letters[:40]
        ],
        "capitals": [{"question": f"What is the capital of {c}?", "answer": city} for c, city in countries],
        "open-topics": topics(world.OPEN_TOPICS),
        "guarded-topics": topics(world.GUARDED_TOPICS),
    }


TOPIC = {"open-topics": "open", "guarded-topics": "guarded"}


def main(folder: str) -> None:
    seen: set[str] = set()
    for name, (style, minutes) in STAGES.items():
        documents = int(minutes * DOCUMENTS_PER_MINUTE)
        some = questions_seen(name, style, documents)
        print(f"{name}: {documents} documents, {len(some)} questions", flush=True)
        seen |= some
    rng = random.Random(SEED)
    tasks = {
        "sums": draw(rng, "sum", 110, seen),
        "chains": draw(rng, "chain", 130, seen),
        "sort": draw(rng, "sort", 50, seen),
        **closed_sets(rng),
    }
    for name, problems in tasks.items():
        topic = TOPIC.get(name, name)
        lines = [
            json.dumps({"id": f"{name}-{i + 1:03d}", "topic": topic, **problem}) for i, problem in enumerate(problems)
        ]
        Path(folder, f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(problems)} questions")


if __name__ == "__main__":
    main(sys.argv[1])
