"""Sentence vectors of the teacher, all-MiniLM-L6-v2 as int8 ONNX: masked mean of the last layer, unit length.

Sorted by length, since a batch is padded to its longest text. Texts are cut after MAX_TOKENS. One process a core, each with
one thread: threads that wait for each other lose more on a busy machine. 4 to 10 minutes on two cores for 220,000 sentences.
"""
import multiprocessing
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_TOKENS = 128
BATCH = 64
BATCHES_A_TASK = 20

_session = None


def _begin(model_path: str) -> None:
    global _session
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    _session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])


def _encode(task: list[list[int]]) -> np.ndarray:
    vectors = np.zeros((len(task), 384), dtype=np.float16)
    for start in range(0, len(task), BATCH):
        rows = task[start : start + BATCH]
        length = max(len(row) for row in rows)
        tokens = np.zeros((len(rows), length), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = row
            mask[place, : len(row)] = 1
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        hidden = _session.run(None, inputs)[0]
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        vectors[start : start + len(rows)] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return vectors


def encode(model_path: str, tokenizer: Tokenizer, texts: list[str], processes: int = 2) -> tuple[np.ndarray, list[np.ndarray]]:
    """The vectors of the texts, and their tokens without the teacher's own [CLS] and [SEP]."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    size = BATCH * BATCHES_A_TASK
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    vectors = np.zeros((len(ids), 384), dtype=np.float16)
    started = time.time()
    with multiprocessing.Pool(processes, _begin, (model_path,)) as pool:
        tasks = ([ids[place] for place in part] for part in parts)
        for done, (part, found) in enumerate(zip(parts, pool.imap(_encode, tasks)), 1):
            vectors[part] = found
            if done % 10 == 0:
                print(f"teacher: {done * size} of {len(order)} in {time.time() - started:.0f} s", flush=True)
    return vectors, [np.array(row[1:-1], dtype=np.int32) for row in ids]
