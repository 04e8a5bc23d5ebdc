#!/usr/bin/env python3
"""launch/quickstart_data.py FOLDER [--seed N] [--items N] [--held-out N]: word problems for launch/quickstart.

  alpaca-train.json     a JSON list of {instruction, input, output}
  c4-train.N.json.gz    the same kind of problems as running text, {text, timestamp, url} a line
  validation.json       as alpaca-train.json; its number combinations occur in no other file
  held-out.json         the same; never seen while training
  questions.jsonl       the first of the held-out items as prompts, {prompt} a line, for `lmnet generate --prompts`

The files are the same at every call with the same arguments.
"""

import argparse
import gzip
import itertools
import json
import math
import random
from pathlib import Path

NAMES = ["Tom", "Ann", "Ben", "Eva", "Max", "Mia"]
THINGS = ["figs", "nuts", "eggs", "pens"]
TEMPLATES = {
    "add": "How many {things} has {name}, who had {a} and {got} {b}?",
    "subtract": "How many {things} has {name}, who had {a} and {lost} {b}?",
    "two steps": "How many {things} has {name}, who had {a}, {got} {b} and {lost} {c}?",
}
GOT, LOST = ["got", "won"], ["lost", "sold"]
# As published with Alpaca: what stands around an instruction without input.
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{}\n\n### Response:"
)


def solution(kind, numbers):
    """The steps (left, sign, right) that lead to the answer."""
    a, b, *rest = numbers
    first = (a, "-" if kind == "subtract" else "+", b)
    return [first, (a + b, "-", rest[0])] if rest else [first]


def written(steps):
    """The answer as it is learnt: `7 + 5 = 12, 12 - 4 = 8`."""
    return ", ".join(f"{a} {sign} {b} = {a + b if sign == '+' else a - b}" for a, sign, b in steps)


def combinations():
    """All (kind, numbers) with numbers from 1 to 9 and no step below 0."""
    for a, b in itertools.product(range(1, 10), repeat=2):
        yield "add", (a, b)
        if a >= b:
            yield "subtract", (a, b)
        yield from (("two steps", (a, b, c)) for c in range(1, min(a + b, 9) + 1))


def step_keys(kind, numbers):
    """What a problem is dealt by: 3 + 4 and 4 + 3 are the same step."""
    steps = solution(kind, numbers)
    return tuple((min(a, b), sign, max(a, b)) if sign == "+" else (a, sign, b) for a, sign, b in steps)


def deal(keys, seed):
    """A sixteenth of the keys for validation, an eighth held out, the others to train on: by chance, but always alike."""
    keys = sorted(set(keys))
    random.Random(seed).shuffle(keys)
    part = math.ceil(len(keys) / 16)
    return {key: "validation" if i < part else "held-out" if i < 3 * part else "train" for i, key in enumerate(keys)}


def shares(seed):
    """{share: {kind: [numbers]}}. Two steps are in no share if one of them alone is not to be learnt."""
    keys = {problem: step_keys(*problem) for problem in combinations()}
    dealt = {}
    for kind in TEMPLATES:
        unseen = {key[0] for key, share in dealt.items() if share != "train"}
        dealt |= deal((key for problem, key in keys.items() if problem[0] == kind and unseen.isdisjoint(key)), seed)
    result = {share: {kind: [] for kind in TEMPLATES} for share in ("train", "validation", "held-out")}
    for (kind, numbers), key in keys.items():
        if key in dealt:
            result[dealt[key]][kind].append(numbers)
    return result


class Problems:
    """Draws problems of one share, each kind as often as the others."""

    def __init__(self, share, seed):
        self.random = random.Random(f"{seed} {share}")
        self.by_kind = shares(seed)[share]

    def next(self):
        kind = self.random.choice(list(TEMPLATES))
        numbers = self.random.choice(self.by_kind[kind])
        text = TEMPLATES[kind]
        lists = {"name": NAMES, "things": THINGS, "got": GOT, "lost": LOST}
        words = {word: self.random.choice(choices) for word, choices in lists.items()}
        return text.format(**dict(zip("abc", numbers)), **words), written(solution(kind, numbers))

    def several(self, count):
        """Different from one another."""
        found = {}
        while len(found) < count:
            question, answer = self.next()
            found[question] = answer
        return list(found.items())


def write_alpaca(file, items):
    records = [{"instruction": question, "input": "", "output": answer} for question, answer in items]
    file.write_text(json.dumps(records, indent=1) + "\n")


def write_c4(folder, problems, texts, files=2):
    for number in range(files):
        path = folder / f"c4-train.{number:05}-of-{files:05}.json.gz"
        with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
            for text in range(texts // files):
                lines = [" ".join(problems.next()) for _ in range(8)]
                page = f"https://example.org/problems/{number}/{text}"
                record = {"text": "\n".join(lines), "timestamp": "2024-01-01T00:00:00Z", "url": page}
                out.write(json.dumps(record).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=8000, help="items to train on; the texts hold four times as many")
    parser.add_argument("--held-out", type=int, default=80, help="items held out; a quarter as many for validation")
    options = parser.parse_args()
    folder, seed = options.folder, options.seed
    folder.mkdir(parents=True, exist_ok=True)
    train = Problems("train", seed)
    held_out = Problems("held-out", seed).several(options.held_out)
    write_alpaca(folder / "alpaca-train.json", [train.next() for _ in range(options.items)])
    write_c4(folder, train, options.items // 2)
    write_alpaca(folder / "validation.json", Problems("validation", seed).several(options.held_out // 4))
    write_alpaca(folder / "held-out.json", held_out)
    prompts = [json.dumps({"prompt": PROMPT.format(question)}) for question, _ in held_out[:5]]
    (folder / "questions.jsonl").write_text("\n".join(prompts) + "\n")


if __name__ == "__main__":
    main()
