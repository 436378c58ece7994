"""Building the gallery: what changed is made again, in several processes, and every page is written whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ogive import catalogue
from ogive.activation import Activation
from ogive.cards import cards as all_cards
from ogive.certify.store import certificate
from ogive.derive.drawing.axes import Array
from ogive.derive.relations import relations as related
from ogive.errors import OgiveError
from ogive.gallery import cards
from ogive.gallery.charts import compare_page, map_page
from ogive.gallery.facts import Record
from ogive.gallery.family import families_page, family_page
from ogive.gallery.index import data, index_page
from ogive.gallery.manifest import Manifest, code, digest, fields, named, opened, write
from ogive.gallery.page import Context, Made, make
from ogive.gallery.picture import spark
from ogive.gallery.shell import SCRIPTS, asset, style
from ogive.gallery.similarity import Map, embed, signature
from ogive.kernels import native
from ogive.references import bibtex

Watch = Callable[[str, int, int], None]
_TILES = 6  # neighbours on a page
_FEW = 12  # pages: fewer are made in this process, which is faster than starting others


@dataclass(frozen=True)
class Built:
    """A gallery: where, how many pages were made, kept and removed, its size in bytes, the time it took, and
    what could not be made, by name."""

    out: Path
    made: int
    kept: int
    removed: int
    size: int
    seconds: float
    failed: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**asdict(self), "out": str(self.out), "failed": dict(self.failed)}


def build(out: Path | str, only: Sequence[str] = (), jobs: int = 1, watch: Watch | None = None) -> Built:
    """Write the gallery of the catalogue into the directory ``out``.

    Args:
        out: a directory that is empty, does not exist, or holds an earlier gallery, which is updated.
        only: names of entries; all of them by default. Pages of others are removed.
        jobs: processes.
        watch: is called with what is being done, how many are done, and how many there are.

    Raises :class:`~ogive.errors.InputError` for a directory that holds something else and
    :class:`~ogive.errors.UnknownName` for an unknown entry. KeyboardInterrupt leaves whole pages, and the next
    call goes on from there.
    """
    begun = time.monotonic()
    tell = watch or (lambda what, done, total: None)
    acts = {str(a.name): a for a in (map(catalogue.lookup, only) if only else catalogue.entries().values())}
    acts = {name: acts[name] for name in sorted(acts)}
    out = Path(out)
    before = opened(out)
    failed = {n: f"{n!r} cannot be the name of a file" for n in acts if not named(n)}
    now = Manifest(set(before.files), dict(before.pages), dict(before.signatures))
    good = {n: a for n, a in acts.items() if n not in failed}
    try:
        made: set[str] = set()
        while True:
            found = embed(_signatures(good, now, jobs, tell))
            contexts = _contexts(good, found)
            keys = {n: _key(a, contexts[n]) for n, a in good.items()}
            pending = [n for n in good if not _current(n, keys[n], now, out)]
            lost = _pages(pending, contexts, keys, now, out, jobs, tell)
            made |= set(pending)
            failed |= lost
            if not lost:
                break
            good = {n: a for n, a in good.items() if n not in lost}  # nobody may link to what is not there
    finally:
        now.save(out)
    records = [Record.from_dict(now.pages[n]["record"]) for n in good]
    files = {f"entry/{r.name}.{end}" for r in records for end in ("html", "js")}
    tell("index and map", 0, 1)
    files |= _rest(records, found, out, not only)
    removed = _remove(before.files | now.files, files, out)
    Manifest(files, {r.name: now.pages[r.name] for r in records}, now.signatures).save(out)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    done = len(made & set(good))
    return Built(out, done, len(records) - done, removed, size, time.monotonic() - begun, failed)


def _signatures(acts: Mapping[str, Activation], now: Manifest, jobs: int, tell: Watch) -> dict[str, Array | None]:
    digests = {n: digest("signature", code(), str(a.written), a.defaults) for n, a in acts.items()}
    missing = [n for n in acts if now.signatures.get(n, ("",))[0] != digests[n]]
    for done, (name, vector) in enumerate(_run(_sampled, [(n,) for n in missing], jobs), 1):
        now.signatures[name] = (digests[name], vector if not isinstance(vector, str) else None)
        tell("comparing functions", done, len(missing))
    return {n: now.signatures[n][1] for n in acts}


def _contexts(acts: Mapping[str, Activation], found: Map) -> dict[str, Context]:
    names = list(acts)
    near = {n: _others(acts, n, found) for n in names}
    with _interpreted():
        sparks = {n: spark(acts[n]) for n in {other for some in near.values() for other, _ in some}}
    return {
        name: Context(
            name,
            names[i - 1] if i else "",
            names[i + 1] if i + 1 < len(names) else "",
            tuple((other, round(c, 12), sparks[other]) for other, c in near[name]),
        )
        for i, name in enumerate(names)
    }


def _others(acts: Mapping[str, Activation], name: str, found: Map) -> list[tuple[str, float]]:
    """The most alike entries that are not the same function by declaration: the page lists those in words."""
    root = acts[name].same_as or name
    return [(o, c) for o, c in found.near.get(name, ()) if (acts[o].same_as or o) != root][:_TILES]


def _key(act: Activation, context: Context) -> str:
    """Hash of everything a page depends on."""
    name = str(act.name)
    proof = certificate(name)
    equal = sorted(str(e.name) for e in catalogue.entries().values() if e.same_as == name)
    relations = [str(r) for r in related(name)]
    sources = [bibtex(key) for key in act.cite]
    return digest(code(), fields(act), asdict(context), equal, relations, sources, proof and proof.to_dict())


def _current(name: str, key: str, now: Manifest, out: Path) -> bool:
    if now.pages.get(name, {}).get("key") != key:
        return False
    try:
        Record.from_dict(now.pages[name]["record"])
    except (TypeError, KeyError):
        return False
    return all((out / "entry" / f"{name}.{end}").is_file() for end in ("html", "js"))


def _pages(
    pending: Sequence[str], contexts: Mapping[str, Context], keys: Mapping[str, str], now: Manifest, out: Path,
    jobs: int, tell: Watch,
) -> dict[str, str]:  # fmt: skip
    """Make pages; what could not be made, with the reason."""
    failed: dict[str, str] = {}
    for done, (name, made) in enumerate(_run(_made, [(contexts[n],) for n in pending], jobs), 1):
        if isinstance(made, str):
            failed[name] = made
            now.pages.pop(name, None)
        else:
            files = {f"entry/{name}.html": made.html, f"entry/{name}.js": made.script}
            for path, text in files.items():
                write(out / path, text)
            now.files |= set(files)
            now.pages[name] = {"key": keys[name], "record": made.record.to_dict()}
        tell("pages", done, len(pending))
    return failed


def _rest(records: Sequence[Record], found: Map, out: Path, whole: bool) -> set[str]:
    """Everything that is not the page of an entry."""
    extra = [cards.card_record(c) for _, c in sorted(all_cards().items()) if named(c.name)] if whole else []
    families: dict[str, list[Record]] = {}
    for r in records:
        families.setdefault(r.family or "other", []).append(r)
    everything = sorted([*records, *extra], key=lambda r: r.name.lower())
    texts = {
        "index.html": index_page(everything, families),
        "families.html": families_page(families),
        "map.html": map_page(found, {r.name: r for r in records}),
        "compare.html": compare_page(),
        "assets/gallery.css": style(),
        "assets/catalogue.js": data(everything),
        **{f"assets/{name}": asset(name) for name in SCRIPTS},
        **{f"family/{f}.html": family_page(f, members) for f, members in families.items()},
    }
    for r in extra:
        texts[f"card/{r.name}.html"] = cards.card_page(all_cards()[r.name])
    for path, text in texts.items():
        if not (out / path).is_file() or (out / path).read_text(encoding="utf-8") != text:
            write(out / path, text)
    return set(texts)


def _remove(old: Iterable[str], new: set[str], out: Path) -> int:
    """Delete files of the earlier gallery that this one has not; only files that its manifest names."""
    gone = 0
    root = out.resolve()
    for path in sorted(set(old) - new):
        file = out / path
        if file.is_file() and root in file.resolve().parents:
            file.unlink()
            gone += 1
    return gone


# Work in processes


@contextmanager
def _interpreted() -> Iterator[None]:
    """Without compiled kernels: a page evaluates each formula a few times, and compiling it takes longer than the
    whole page (0.37 s a page with, 0.04 s without)."""
    before = native.enable(False)
    try:
        yield
    finally:
        native.enable(before)


def _sampled(name: str) -> tuple[str, Array | str | None]:
    try:
        with _interpreted():
            return name, signature(catalogue.lookup(name))
    except Exception as error:  # an entry of somebody's plugin may raise anything; the others go on
        return name, f"{type(error).__name__}: {error}"


def _made(context: Context) -> tuple[str, Made | str]:
    try:
        with _interpreted():
            return context.name, make(context)
    except Exception as error:
        return context.name, f"{type(error).__name__}: {error}"


def _run(work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Results in any order."""
    if jobs <= 1 or len(tasks) <= _FEW:
        yield from (work(*task) for task in tasks)
        return
    # Processes are started afresh: a copy of one in which torch has threads may wait for them for ever.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _alone) as pool:
        running: set[Future[Any]] = {pool.submit(work, *task) for task in tasks}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise OgiveError(
                "a process of the gallery ended in the middle of a page (killed, or out of memory?); the finished "
                "pages are kept: run it again, with fewer --jobs"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """One thread a process; Ctrl-C reaches the whole group, and the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
