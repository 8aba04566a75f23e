"""The two servers of the loopback archive: the REST interface, and the storage it redirects to."""

from __future__ import annotations

import gc
import json
import re
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from archive.faults import Fault, FaultPlan
from archive.shelf import Files, ShelvedAsset, ShelvedDandiset, server_info

if TYPE_CHECKING:
    from collections.abc import Collection

_PAGE_SIZE = 100
_SENDING_BLOCK = 1 << 14


@dataclass
class Request:
    """One request that reached a server."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    n_bytes: int = 0


@dataclass
class _Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class LoopbackArchive:
    """A DANDI archive for as long as the ``with`` block lasts.

    Parameters
    ----------
    files
        Dandiset id → version → path → content; a version may be empty.
    embargoed
        Ids of dandisets that are shown with a token only.
    tokens
        Tokens that are good.
    """

    def __init__(
        self, files: Files, *, embargoed: Collection[str] = (), tokens: Collection[str] = ("good-token",)
    ) -> None:
        self.dandisets = {
            name: ShelvedDandiset(
                name,
                {
                    version: [ShelvedAsset.of(name, version, path, data) for path, data in contents.items()]
                    for version, contents in versions.items()
                },
                is_embargoed=name in embargoed,
            )
            for name, versions in files.items()
        }
        self.tokens = set(tokens)
        self.requests: list[Request] = []
        self.generation = 0
        self.latency_s = 0.0
        self.faults = FaultPlan()
        self.closing = threading.Event()
        self._collects = False
        self._servers = [_server(self, answer) for answer in (_answer_api, _answer_storage)]
        self._threads = [
            threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True) for s in self._servers
        ]

    def __enter__(self) -> Self:
        # Collecting garbage in a thread of the server could close an HDF5 file, for which it would wait for
        # the lock of h5py; a reader in this process holds that lock while it waits for the server's answer.
        self._collects = gc.isenabled()
        gc.disable()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
        if self._collects:
            gc.enable()

    @property
    def url(self) -> str:
        """What a user gives as the instance."""
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def storage_url(self) -> str:
        """Where the bytes of the files lie."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def fault(self, pattern: str, fault: Fault, *, times: int | None = 1, method: str | None = None) -> None:
        """Let the next `times` requests to paths like `pattern` go wrong; None: all of them."""
        self.faults.add(pattern, fault, times=times, method=method)

    def asset(self, dandiset: str, version: str, path: str) -> ShelvedAsset:
        """Return an asset, to be changed by a test."""
        return next(asset for asset in self.dandisets[dandiset].versions[version] if asset.path == path)

    def replace(self, dandiset: str, version: str, path: str, content: bytes) -> ShelvedAsset:
        """Put another file in the place of one; the old asset is gone."""
        assets = self.dandisets[dandiset].versions[version]
        assets[:] = [asset for asset in assets if asset.path != path]
        assets.append(ShelvedAsset.of(dandiset, version, path, content))
        return assets[-1]

    def expire_urls(self) -> None:
        """Let the storage refuse all addresses that were given out so far."""
        self.generation += 1

    def requested(self, pattern: str = "*") -> list[Request]:
        """Return the requests to paths like `pattern`, in order of arrival."""
        return [request for request in self.requests if fnmatchcase(request.path, pattern)]

    def bytes_sent(self, pattern: str) -> int:
        """Return how many bytes of content went out for paths like `pattern`."""
        return sum(request.n_bytes for request in self.requested(pattern) if request.status in {200, 206})

    def find_asset(self, asset_id: str) -> tuple[ShelvedDandiset, ShelvedAsset] | None:
        """Return the asset of this id in whatever dandiset and version."""
        for dandiset in self.dandisets.values():
            for assets in dandiset.versions.values():
                for asset in assets:
                    if asset.asset_id == asset_id:
                        return dandiset, asset
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: ClassVar[LoopbackArchive]
    answer: ClassVar[Any]

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self, *, with_body: bool) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        request = Request(self.command, url.path, query, {k.lower(): v for k, v in self.headers.items()})
        self.archive.requests.append(request)
        if self.archive.latency_s:
            self.archive.closing.wait(self.archive.latency_s)
        fault = self.archive.faults.next(request.method, self.path)
        if fault and fault.kind == "reset":
            self._break_off()
            return
        answer = type(self).answer(self.archive, request, fault)
        if fault and fault.kind == "status":
            answer = _Answer(fault.status, b"fault ordered by the test", fault.headers)
        request.status = answer.status
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self._send(answer.body, request, fault)

    def _send(self, body: bytes, request: Request, fault: Fault | None) -> None:
        ends = {"drop", "stall"}
        limit = fault.n_bytes if fault and fault.kind in ends else len(body)
        try:
            while request.n_bytes < min(limit, len(body)):
                block = body[request.n_bytes : min(request.n_bytes + _SENDING_BLOCK, limit)]
                # Counted first: the client may have the last block, and the test ask, before this goes on.
                request.n_bytes += len(block)
                self.wfile.write(block)
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        if fault and fault.kind == "stall":
            self.archive.closing.wait(30)
        if fault and fault.kind in ends:
            self.close_connection = True

    def _break_off(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _server(archive: LoopbackArchive, answer: Any) -> ThreadingHTTPServer:
    members = {"archive": archive, "answer": staticmethod(answer)}
    return _Server(("127.0.0.1", 0), type("Handler", (_Handler,), members))


def _json(content: object, status: int = 200) -> _Answer:
    return _Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


_NOT_FOUND = _json({"detail": "Not found."}, 404)
_NO_ACCESS = _json({"detail": "Authentication credentials were not provided."}, 401)


def _answer_api(archive: LoopbackArchive, request: Request, fault: Fault | None) -> _Answer:
    path = request.path
    token = request.headers.get("authorization", "").removeprefix("token ")
    if token and token not in archive.tokens:
        return _json({"detail": "Invalid token."}, 401)
    if path == "/api/info/":
        return _json(server_info(f"{archive.url}/api"))
    if not path.startswith("/api/"):
        return _NOT_FOUND
    if not path.endswith("/"):
        return _Answer(301, headers={"Location": f"{path}/"})
    if path == "/api/auth/token/":
        return _json({"token": token}) if token else _NO_ACCESS
    if path == "/api/dandisets/":
        return _page(
            [d.record() for d in archive.dandisets.values() if not d.is_embargoed], request, archive.url
        )
    words = path.removeprefix("/api/").strip("/").split("/")
    if words[0] == "assets" and len(words) > 1:
        found = archive.find_asset(words[1])
        if found is None:
            return _NOT_FOUND
        dandiset, asset = found
        if dandiset.is_embargoed and not token:
            return _NO_ACCESS
        return _answer_asset(archive, asset, words[2:])
    if words[0] == "dandisets" and words[1] in archive.dandisets:
        dandiset = archive.dandisets[words[1]]
        if dandiset.is_embargoed and not token:
            return _NO_ACCESS
        return _answer_dandiset(archive, dandiset, words[2:], request)
    return _NOT_FOUND


def _answer_dandiset(
    archive: LoopbackArchive, dandiset: ShelvedDandiset, words: list[str], request: Request
) -> _Answer:
    if not words:
        return _json(dandiset.record())
    known = ["draft", *dandiset.published]
    if words == ["versions"]:
        return _page([dandiset.version_item(version) for version in known], request, archive.url)
    if words[0] != "versions" or words[1] not in known:
        return _NOT_FOUND
    version, rest = words[1], words[2:]
    if rest in ([], ["info"]):
        return _json(dandiset.version_info(version) if rest else dandiset.version_metadata(version))
    if rest[0] != "assets":
        return _NOT_FOUND
    assets = dandiset.versions.get(version, [])
    if len(rest) > 1:
        asset = next((asset for asset in assets if asset.asset_id == rest[1]), None)
        return _answer_asset(archive, asset, rest[2:]) if asset else _NOT_FOUND
    return _page(_items(archive, assets, request.query), request, archive.url)


def _items(
    archive: LoopbackArchive, assets: list[ShelvedAsset], query: dict[str, str]
) -> list[dict[str, Any]]:
    chosen = [asset for asset in assets if asset.path.startswith(query.get("path", ""))]
    chosen = [asset for asset in chosen if fnmatchcase(asset.path, query.get("glob", "*"))]
    if query.get("order", "").removeprefix("-") == "path":
        chosen.sort(key=lambda asset: asset.path, reverse=query["order"].startswith("-"))
    if query.get("metadata") != "true":
        return [asset.item() for asset in chosen]
    return [{**asset.item(), "metadata": _metadata(archive, asset)} for asset in chosen]


def _answer_asset(archive: LoopbackArchive, asset: ShelvedAsset, words: list[str]) -> _Answer:
    if not words:
        return _json(_metadata(archive, asset))
    if words == ["info"]:
        return _json({**asset.item(), "metadata": _metadata(archive, asset)})
    if words == ["download"]:
        signature = urlencode(
            {"X-Amz-Expires": 21600, "X-Amz-Generation": archive.generation, "X-Amz-Signature": "secret"}
        )
        return _Answer(302, headers={"Location": f"{archive.storage_url}/blob/{asset.blob_id}?{signature}"})
    return _NOT_FOUND


def _metadata(archive: LoopbackArchive, asset: ShelvedAsset) -> dict[str, Any]:
    return asset.metadata(f"{archive.url}/api", archive.storage_url)


def _page(results: list[dict[str, Any]], request: Request, url: str) -> _Answer:
    size = min(int(request.query.get("page_size", _PAGE_SIZE)), 1000)
    page = int(request.query.get("page", 1))
    start = (page - 1) * size

    def link(number: int) -> str:
        return f"{url}{request.path}?{urlencode({**request.query, 'page': number})}"

    return _json(
        {
            "count": len(results) if page == 1 else None,
            "next": link(page + 1) if start + size < len(results) else None,
            "previous": link(page - 1) if page > 1 else None,
            "results": results[start : start + size],
        }
    )


def _answer_storage(archive: LoopbackArchive, request: Request, fault: Fault | None) -> _Answer:
    blob_id = request.path.removeprefix("/blob/")
    assets = [a for d in archive.dandisets.values() for version in d.versions.values() for a in version]
    asset = next((asset for asset in assets if asset.blob_id == blob_id), None)
    if asset is None:
        return _Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
    if int(request.query.get("X-Amz-Generation", archive.generation)) < archive.generation:
        return _Answer(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
    kind = fault.kind if fault else None
    if request.headers.get("if-match", f'"{asset.dandi_etag}"') != f'"{asset.dandi_etag}"':
        return _Answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
    etag = "0" * 32 + "-1" if kind == "wrong_etag" else asset.dandi_etag
    headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
    if kind == "no_etag":
        del headers["ETag"]
    size = asset.held_size - (fault.n_bytes if fault and kind == "short" else 0)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if wanted is None or kind == "ignore_range":
        return _Answer(200, _content(asset, 0, size, fault), headers)
    first, last = wanted[1], wanted[2]
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    start += kind == "wrong_range"
    if start >= size:
        body = b"<Error><Code>InvalidRange</Code></Error>"
        return _Answer(416, body, {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    stop += fault.n_bytes if fault and kind == "surplus" else 0
    return _Answer(206, _content(asset, start, stop, fault), headers)


def _content(asset: ShelvedAsset, start: int, stop: int, fault: Fault | None) -> bytes:
    data = asset.part(start, stop)
    at = fault.n_bytes - start if fault and fault.kind == "flip" else -1
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] if 0 <= at < len(data) else data
