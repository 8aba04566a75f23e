"""An archive that answers wrongly."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from robustness import edits, forked
from robustness.base import store_digests, unlike
from robustness.typed import impatient
from robustness.verdict import BAD_DATA, DONE, MACHINE, SOME_FAILED, USAGE, Mutation, Verdict, judge, texts_of
from robustness.work import weighted

if TYPE_CHECKING:
    from collections.abc import Callable

    from archive import LoopbackArchive

    from robustness.base import Base

    Tamper = Callable[[LoopbackArchive, np.random.Generator], Mutation]

CODES = frozenset({DONE, USAGE, SOME_FAILED, BAD_DATA, MACHINE})
DANDISET, VERSION, ASSET = "000999", "0.240101.0000", "sub-T/sub-T_ses-1.nwb"
MODES = {"--download": 5, "--stream": 4, "--auto": 1}
PLACES = (
    "/api/info/",
    f"/api/dandisets/{DANDISET}/",
    f"/api/dandisets/{DANDISET}/versions/",
    f"/api/dandisets/{DANDISET}/versions/{VERSION}/info/",
    f"/api/dandisets/{DANDISET}/versions/{VERSION}/",
    f"/api/dandisets/{DANDISET}/versions/{VERSION}/assets/",
    "/api/assets/*",
    f"/api/dandisets/{DANDISET}/versions/{VERSION}/assets/*",
)
LISTING = PLACES[5]
BODIES: dict[str, bytes] = {
    "a web page": b"<!doctype html><html>Sign in</html>",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "text": b'"x"',
    "half": b'{"results": [',
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "half a character": b'{"path": "\\ud800"}',
    "huge number": b'{"count": ' + b"9" * 5000 + b"}",
    "NaN": b'{"count": NaN, "next": null, "results": []}',
    "noise": bytes(range(256)) * 20,
    "a byte order mark": b'\xef\xbb\xbf{"count": 0, "next": null, "results": []}',
    "empty object": b"{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "ten million": b'{"results": [' + b"0," * 5_000_000 + b"0]}",
}
STATUSES = (400, 401, 403, 404, 405, 408, 409, 410, 413, 418, 429, 451, 500, 501, 502, 503, 504, 507, 599)
ARCHIVE_WORDS = (
    "archive",
    "dandiset",
    "127.0.0.1",
    "storage",
    "server",
    "asset",
    "version",
    "listing",
    "answer",
    "sub-t",
    "page",
    "download",
)


def _place(rng: np.random.Generator) -> str:
    return PLACES[int(rng.integers(len(PLACES)))] if rng.random() < 0.6 else LISTING


def edited(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    place, seed = _place(rng), int(rng.integers(2**32))
    done: list[str] = []

    def change(tree: Any) -> Any:
        new, text, _ = edits.edited(tree, np.random.default_rng(seed))
        done.append(text)
        return new

    archive.tamper(place, change)
    return Mutation(f"{place}: one value edited, seed {seed}", ARCHIVE_WORDS)


def body(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    from archive import body as answer

    place, kind = _place(rng), str(rng.choice(list(BODIES)))
    times = None if rng.random() < 0.7 else 1
    archive.fault(place, answer(BODIES[kind]), times=times)
    return Mutation(f"{place}: {kind}, {'always' if times is None else 'once'}", ARCHIVE_WORDS)


def bomb(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    from archive import body as answer

    place = _place(rng)
    packed = gzip.compress(b"[" + b" " * 300_000_000, 1)
    archive.fault(place, answer(packed, Content_Encoding="gzip"), times=None)
    return Mutation(f"{place}: 300 MB of blanks in gzip", ARCHIVE_WORDS)


def odd_packing(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    from archive import body as answer

    place = _place(rng)
    kind = str(rng.choice(["no gzip", "half gzip", "unknown"]))
    data = {
        "no gzip": b'{"a": 1}',
        "half gzip": gzip.compress(b'{"results": []}' * 99)[:-9],
        "unknown": b"{}",
    }[kind]
    archive.fault(place, answer(data, Content_Encoding="br" if kind == "unknown" else "gzip"), times=None)
    return Mutation(f"{place}: {kind}", ARCHIVE_WORDS)


def status(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    from archive import status as answer

    place = str(rng.choice([*PLACES, "/blob/*", "*"]))
    code = STATUSES[int(rng.integers(len(STATUSES)))]
    times = None if rng.random() < 0.4 else int(rng.integers(1, 4))
    archive.fault(place, answer(code), times=times)
    return Mutation(f"{place}: {code}, {times or 'always'}", ARCHIVE_WORDS)


def redirect(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    from archive import status as answer

    place = str(rng.choice([*PLACES[:6], "/blob/*"]))
    target = str(
        rng.choice(
            ["self", "http://127.0.0.1:9/x", "ftp://x/y", "", "///", "http://[::1", "file:///etc/passwd"]
        )
    )
    location = f"{archive.url}{place}" if target == "self" else target
    archive.fault(place, answer(302, Location=location), times=None)
    return Mutation(f"{place}: sent on to {target!r}", (*ARCHIVE_WORDS, target[:8] or "redirect"))


def pages(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    """Let the pages of the listing lead astray."""
    kind = str(
        rng.choice(["itself", "elsewhere", "number", "other path", "count", "fewer", "twice", "text", "many"])
    )
    changes: dict[str, Callable[[Any], Any]] = {
        "itself": lambda t: t | {"next": f"{archive.url}{LISTING}"},
        "elsewhere": lambda t: t | {"next": "http://127.0.0.1:9/api/"},
        "number": lambda t: t | {"next": 7},
        "other path": lambda t: t | {"next": f"{archive.url}/api/dandisets/"},
        "count": lambda t: t | {"count": 5},
        "fewer": lambda t: t | {"results": t["results"][1:]},
        "twice": lambda t: t | {"results": t["results"] * 2, "count": len(t["results"]) * 2},
        "text": lambda t: t | {"results": "abc"},
        "many": lambda t: t | {"results": t["results"] * 2000},
    }
    archive.tamper(LISTING, changes[kind])
    return Mutation(f"the listing: {kind}", ARCHIVE_WORDS)


def lying(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    """Let the archive state another size or digest than the file's."""
    asset = archive.asset(DANDISET, VERSION, ASSET)
    kind = str(
        rng.choice(
            ["larger", "smaller", "zero", "negative", "huge", "sha256", "etag", "no sha256", "no digests"]
        )
    )
    match kind:
        case "sha256":
            asset.sha256 = "0" * 64
        case "etag":
            asset.dandi_etag = f"{'0' * 32}-1"
        case "no sha256":
            asset.sha256 = None
        case "no digests":
            asset.sha256 = asset.dandi_etag = None
        case _:
            size = asset.size
            asset.size = {"larger": size + 7, "smaller": size - 7, "zero": 0, "negative": -5, "huge": 10**15}[
                kind
            ]
    return Mutation(f"states a wrong one: {kind}", (*ARCHIVE_WORDS, "sha-256", "digest", "bytes", "size"))


def storage(archive: LoopbackArchive, rng: np.random.Generator) -> Mutation:
    """Let the storage send something else."""
    import archive as faults

    at = int(rng.integers(700_000))
    kinds: dict[str, Any] = {
        "reset": faults.reset(),
        "drop": faults.drop(after=at),
        "short": faults.short_body(by=max(at, 1)),
        "flip": faults.flip_byte(at=at),
        "stall": faults.stall(after=at),
        "ignore range": faults.ignore_range(),
        "wrong etag": faults.wrong_etag(),
        "no etag": faults.no_etag(),
        "wrong range": faults.wrong_range(),
        "surplus": faults.surplus(n_bytes=max(at // 1000, 1)),
        "page": faults.body(b"<html>"),
        "nothing": faults.body(b""),
    }
    kind = str(rng.choice(list(kinds)))
    times = None if rng.random() < 0.4 and kind != "stall" else 1
    archive.fault("/blob/*", kinds[kind], times=times)
    harmless = "a streamed byte is held against nothing, which the store says" if kind == "flip" else ""
    return Mutation(
        f"storage: {kind} at {at}, {'always' if times is None else 'once'}",
        (*ARCHIVE_WORDS, "byte"),
        harmless=harmless,
    )


MUTATORS: dict[str, Tamper] = {
    "edited": edited,
    "body": body,
    "bomb": bomb,
    "odd_packing": odd_packing,
    "status": status,
    "redirect": redirect,
    "pages": pages,
    "lying": lying,
    "storage": storage,
}
DRAWN = (
    *(set(MUTATORS) - {"bomb"}),
    *(["edited"] * 6),
    *(["body"] * 3),
    *(["status"] * 3),
    *(["storage"] * 3),
    "pages",
    "lying",
    "bomb",
)
DRAWN = tuple(sorted(DRAWN))


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Ingest from an archive that answers wrongly."""
    mode = weighted(MODES, rng)
    was_said, digests = base.known(
        f"archive {mode}", lambda: _ingested(base, f"whole{mode}", mode, None, 0)[2:]
    )
    mutation, ended, said, found = _ingested(base, trial, mode, mutator, int(rng.integers(2**32)))
    if mutation.harmless and mode == "--download":
        mutation = Mutation(mutation.text, mutation.names)
    return judge(
        Verdict(trial, command=f"run ingest --dandiset {DANDISET} {mode} --json"),
        ended,
        mutation,
        new=sorted(said - was_said),
        difference=unlike(digests, found),
        allowed=CODES,
    )


def _ingested(
    base: Base, name: str, mode: str, mutator: str | None, seed: int
) -> tuple[Mutation, forked.Ended, set[str], dict[str, str]]:
    folder = base.empty(name)
    reading, writing = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(reading)
        try:
            _serve(base, mutator, seed, writing)
        finally:
            os._exit(1)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            told = json.loads(pipe.readline())
        words = ("run", "ingest", "--dandiset", DANDISET, "--instance", told["url"], mode, "--json")
        ended = forked.run(words, folder, prepare=impatient)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    said = {text.replace(told["url"], "URL") for text in texts_of(ended)}
    found = forked.call(store_digests, str(folder)) if ended.code == 0 else {}
    if mutator is None and ended.code != 0:
        raise RuntimeError(ended.err)
    shutil.rmtree(folder / "downloads", ignore_errors=True)
    mutation = told["mutation"] | {"names": tuple(told["mutation"]["names"])}
    return Mutation(**mutation), ended, said, found


def _serve(base: Base, mutator: str | None, seed: int, writing: int) -> None:
    from dataclasses import asdict

    from archive import LoopbackArchive

    content = (base.folder / "nwb" / "plain.nwb").read_bytes()
    with LoopbackArchive({DANDISET: {VERSION: {ASSET: content, "sub-T/notes.txt": b"notes"}}}) as archive:
        mutation = MUTATORS[mutator](archive, np.random.default_rng(seed)) if mutator else Mutation("nothing")
        os.write(writing, json.dumps({"url": archive.url, "mutation": asdict(mutation)}).encode() + b"\n")
        time.sleep(600)
