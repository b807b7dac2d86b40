"""The sentences that the table is distilled from: WordNet definitions and examples, and the texts of the data folder.

Order is fixed and duplicates are dropped, so that a sentence's place is its identity. Every fiftieth sentence, chosen by a
checksum of its text, is held out. The hard prompts of arena-hard are left out altogether: they judge the embedding.
"""
import json
import re
import zlib
from pathlib import Path

HELD_OUT_ONE_IN = 50


def wordnet_sentences(dictionary: Path):
    for part in ("noun", "verb", "adj", "adv"):
        for line in (dictionary / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            gloss = line.partition(" | ")[2].strip()
            definition = re.split(r';\s*"', gloss)[0].strip('" ')
            yield definition
            yield from (example.strip() for example in re.findall(r'"([^"]{8,})"', gloss))


def data_sentences(data: Path):
    def rows(name):
        with (data / name).open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    for row in rows("clinc150-train-val.jsonl"):
        yield row["text"]
    for row in rows("sgd-dev-half.jsonl"):
        for turn in row["turns"]:
            yield turn["text"]
    for row in rows("mmlu-pro-topics-quarter.jsonl"):
        yield row["text"]
    for row in rows("routellm-mmlu-19subjects.jsonl"):
        yield row["prompt"]
    for row in rows("llmrouter-outcomes-train-half.jsonl"):
        yield row["question"]
    for row in rows("tau-bench-airline-tasks0-24.jsonl"):
        for message in row["messages"]:
            if isinstance(message.get("content"), str):
                yield message["content"]
    for name in ("wnut17-train.conll", "wnut17-dev.conll"):
        for block in (data / name).read_text(encoding="utf-8").split("\n\n"):
            yield " ".join(line.split("\t")[0] for line in block.splitlines() if line)


def sentences(dictionary: Path, data: Path) -> list[str]:
    seen: dict[str, None] = {}
    for source in (wordnet_sentences(dictionary), data_sentences(data)):
        for text in source:
            text = text.strip()[:4000]
            if text:
                seen[text] = None
    return list(seen)


def held_out(text: str) -> bool:
    return zlib.crc32(text.encode()) % HELD_OUT_ONE_IN == 0
