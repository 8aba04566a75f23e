"""The storage behind the loopback archive: bytes, whole or in ranges, with faults."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from archive.answers import Answer

if TYPE_CHECKING:
    from archive.answers import Request
    from archive.faults import Fault
    from archive.server import LoopbackArchive
    from archive.shelf import Held


def answer_storage(archive: LoopbackArchive, request: Request, fault: Fault | None) -> Answer:
    """Answer a request for bytes, with whatever fault was ordered."""
    kind_of_place, _, place = unquote(request.path).strip("/").partition("/")
    asset: Held | None
    if kind_of_place == "zarr":
        asset = archive.find_entry(*place.split("/", maxsplit=1))
    else:
        found = archive.find_asset(place)
        asset = found[1] if found and not found[1].is_zarr else None
    if asset is None:
        return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
    if int(request.query.get("X-Amz-Generation", archive.generation)) < archive.generation:
        return Answer(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
    kind = fault.kind if fault else None
    if request.headers.get("if-match", f'"{asset.dandi_etag}"') != f'"{asset.dandi_etag}"':
        return Answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
    etag = "0" * 32 + "-1" if kind == "wrong_etag" else asset.dandi_etag
    headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
    if kind == "no_etag":
        del headers["ETag"]
    size = asset.held_size - (fault.n_bytes if fault and kind == "short" else 0)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if wanted is None or kind == "ignore_range":
        return Answer(200, _content(asset, 0, size, fault), headers)
    first, last = wanted[1], wanted[2]
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    start += kind == "wrong_range"
    if start >= size:
        body = b"<Error><Code>InvalidRange</Code></Error>"
        return Answer(416, body, {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    stop += fault.n_bytes if fault and kind == "surplus" else 0
    return Answer(206, _content(asset, start, stop, fault), headers)


def _content(asset: Held, start: int, stop: int, fault: Fault | None) -> bytes:
    data = asset.part(start, stop)
    at = fault.n_bytes - start if fault and fault.kind == "flip" else -1
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] if 0 <= at < len(data) else data
