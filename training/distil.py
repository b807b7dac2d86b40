"""Distils the teacher into one vector per token: the cosine between a weighted sum of rows and the teacher's sentence vector.

Start: a row is the teacher's vector of the token alone, projected to DIMENSIONS by an uncentred principal component analysis of
the teacher's sentence vectors (so that cosines are kept), and scaled by smooth inverse frequency a / (a + p). Then lazy Adam
(rows that a batch does not touch keep still) on 1 - cosine. A token that occurs n times in a text counts as sqrt(n). The weight
of a token is the length of its row, so nothing but the rows has to be kept. Seeds are fixed.
"""
import time

import numpy as np
import scipy.sparse as sparse

DIMENSIONS = 256
SMOOTHING = 1e-3
BATCH = 1024
LEARNING_RATE = 4e-3
# rows start this small, since Adam's steps do not scale with them: larger rows move too little
START_SCALE = 0.3


def counts(flat: np.ndarray, lengths: np.ndarray, rows: int) -> sparse.csr_matrix:
    places = np.repeat(np.arange(len(lengths)), lengths)
    matrix = sparse.csr_matrix((np.ones(len(flat), np.float32), (places, flat)), shape=(len(lengths), rows))
    matrix.sum_duplicates()
    matrix.data = np.sqrt(matrix.data)
    return matrix


def projection(vectors: np.ndarray) -> np.ndarray:
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), 20_000):
        part = vectors[start : start + 20_000].astype(np.float64)
        moment += part.T @ part
    values, axes = np.linalg.eigh(moment)
    return axes[:, np.argsort(-values)[:DIMENSIONS]].astype(np.float32)


def start_table(token_vectors: np.ndarray, axes: np.ndarray, matrix: sparse.csr_matrix) -> np.ndarray:
    frequency = np.asarray(matrix.sum(0)).ravel() + 0.1
    share = frequency / frequency.sum()
    table = token_vectors.astype(np.float32) @ axes
    table /= np.linalg.norm(table, axis=1, keepdims=True) + 1e-9
    return table * (START_SCALE * SMOOTHING / (SMOOTHING + share))[:, None].astype(np.float32)


def similarity(table: np.ndarray, matrix: sparse.csr_matrix, target: np.ndarray) -> float:
    total = 0.0
    for start in range(0, matrix.shape[0], 20_000):
        summed = matrix[start : start + 20_000] @ table
        summed /= np.linalg.norm(summed, axis=1, keepdims=True) + 1e-9
        total += float((summed * target[start : start + 20_000]).sum())
    return total / matrix.shape[0]


def distil(table: np.ndarray, matrix: sparse.csr_matrix, target: np.ndarray, epochs: int, report) -> np.ndarray:
    """`target` has unit rows. Returns the table of the last epoch."""
    random = np.random.default_rng(20261125)
    table = table.copy()
    first = np.zeros_like(table)
    second = np.zeros_like(table)
    steps = np.zeros(len(table), np.int64)
    total = epochs * ((matrix.shape[0] + BATCH - 1) // BATCH)
    step = 0
    for epoch in range(epochs):
        started = time.time()
        order = random.permutation(matrix.shape[0])
        loss = 0.0
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = matrix[places]
            touched, columns = np.unique(batch.indices, return_inverse=True)
            local = sparse.csr_matrix((batch.data, columns, batch.indptr), shape=(len(places), len(touched)))
            rows = table[touched]
            summed = local @ rows
            length = np.linalg.norm(summed, axis=1, keepdims=True) + 1e-9
            unit = summed / length
            wanted = target[places]
            cosine = (unit * wanted).sum(1, keepdims=True)
            loss += float((1 - cosine).sum())
            gradient = local.T @ ((cosine * unit - wanted) / length)
            steps[touched] += 1
            age = steps[touched][:, None]
            first[touched] = 0.9 * first[touched] + 0.1 * gradient
            second[touched] = 0.999 * second[touched] + 0.001 * gradient * gradient
            rate = LEARNING_RATE * max(0.02, 1 - step / total)
            mean = first[touched] / (1 - 0.9**age)
            spread = np.sqrt(second[touched] / (1 - 0.999**age))
            table[touched] = rows - rate * mean / (spread + 1e-12)
            step += 1
        report(epoch, loss / len(order), time.time() - started, table)
    return table


def quantise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 with one scale a row."""
    scale = np.abs(table).max(1) / 127 + 1e-12
    return np.rint(table / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def clusters(vectors: np.ndarray, count: int = 255, rounds: int = 12) -> np.ndarray:
    """Spherical k-means of the tokens' own vectors: kinds of words, for the name tagger."""
    random = np.random.default_rng(5)
    unit = vectors.astype(np.float32) - vectors.astype(np.float32).mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-9
    centres = unit[random.choice(len(unit), count, replace=False)]
    for _ in range(rounds):
        nearest = (unit @ centres.T).argmax(1)
        for place in range(count):
            members = unit[nearest == place]
            if len(members):
                centres[place] = members.mean(0) / (np.linalg.norm(members.mean(0)) + 1e-9)
    return nearest.astype(np.uint8)
