"""A Google Cloud Storage in memory, for tests: the part of the JSON API that our clients speak.

    with serve("bucket") as gcs:
        subprocess.run(command, env=os.environ | gcs.environment())
        gcs.read("bucket", "run/log.txt")

gcsfs, google-cloud-storage, TensorStore and array_record (google-cloud-cpp) read the variables of
`environment()` when they are first used: set them before, or start a process.
"""

import base64
import contextlib
import datetime
import itertools
import json
import re
import sys
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)")
_LIST = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o")
_BUCKET = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)")
_COPY = re.compile(
    r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)/(?P<verb>rewriteTo|copyTo)"
    r"/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>[^/]+)"
)
_MOVE = re.compile(
    r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)/(?P<verb>moveTo)/o/(?P<to_name>[^/]+)"
)
_UPLOAD = re.compile(r"(?:/resumable)?/upload/storage/v1/b/(?P<bucket>[^/]+)/o")
_XML = re.compile(r"/(?P<bucket>[^/]+)/(?P<name>.+)")  # google-cloud-cpp downloads this way


class Gcs(ThreadingHTTPServer):
    """The server and what it holds.

    Attributes:
        buckets: Bucket to object name to its resource; `data` holds its bytes.
        requests: "METHOD path?query" of every request so far.
        fault: Returns an HTTP status to fail a request with, or None; given (method, path).
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *buckets: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in buckets}
        self.requests: list[str] = []
        self.fault: Callable[[str, str], int | None] = lambda method, path: None
        self.uploads: dict[str, dict[str, Any]] = {}
        self.lock = threading.RLock()
        self.counter = itertools.count(1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Is silent where a client has hung up: gcsfs leaves requests that it no longer needs."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self) -> dict[str, str]:
        """Environment variables that send every client here, without credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,  # gcsfs, google-cloud-storage
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks for the bucket's type over gRPC
            "NO_GCE_CHECK": "true",
            "GOOGLE_CLOUD_PROJECT": "test",
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "test",  # TensorStore
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.url,  # google-cloud-cpp in array_record
        }

    def names(self, bucket: str) -> list[str]:
        """Names of all objects, sorted."""
        with self.lock:
            return sorted(self.buckets[bucket])

    def read(self, bucket: str, name: str) -> bytes:
        """Bytes of an object."""
        with self.lock:
            return self.buckets[bucket][name]["data"]

    def write(self, bucket: str, name: str, data: bytes, **resource: Any) -> dict[str, Any]:
        """Stores an object and returns its resource."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self.lock:
            entry = {
                "kind": "storage#object",
                "bucket": bucket,
                "name": name,
                "size": str(len(data)),
                "generation": str(next(self.counter)),
                "metageneration": "1",
                "timeCreated": now,
                "updated": now,
                "contentType": resource.get("contentType", "application/octet-stream"),
                "md5Hash": base64.b64encode(md5(data).digest()).decode(),
                "etag": f"{zlib.crc32(data):08x}",
                "data": data,
            }
            self.buckets[bucket][name] = entry
            return entry


@contextlib.contextmanager
def serve(*buckets: str) -> Iterator[Gcs]:
    """Runs a server with empty buckets while the block runs."""
    with Gcs(*buckets) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Error(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int):
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Gcs

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: tests look at `requests`."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        self.body = self._read_body()
        self.server.requests.append(f"{self.command} {self.path}")
        try:
            if (status := self.server.fault(self.command, self.path)) is not None:
                raise _Error(status)
            with self.server.lock:
                self._route(url.path)
        except _Error as error:
            message = {"error": {"code": error.status, "message": f"status {error.status}"}}
            self._send(error.status, b"" if error.status == 304 else json.dumps(message).encode())

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _route(self, path: str) -> None:
        """Finds what is asked for; object names hold their slashes as %2F."""
        routes = (
            (_UPLOAD, {"POST": self._upload, "PUT": self._upload, "DELETE": self._cancel}),
            (_COPY, {"POST": self._copy}),
            (_MOVE, {"POST": self._copy}),
            (_OBJECT, {"GET": self._get, "DELETE": self._delete, "PATCH": self._get}),
            (_LIST, {"GET": self._list}),
            (_BUCKET, {"GET": self._get_bucket}),
            (_XML, {"GET": self._get_media, "HEAD": self._get_media}),
        )
        for pattern, verbs in routes:
            match = pattern.fullmatch(path)
            if match and self.command in verbs:
                values = {k: urllib.parse.unquote(v) for k, v in match.groupdict().items()}
                return verbs[self.command](**values)
        raise _Error(501)

    def _objects(self, bucket: str) -> dict[str, dict[str, Any]]:
        if bucket not in self.server.buckets:
            raise _Error(404)
        return self.server.buckets[bucket]

    def _find(self, bucket: str, name: str) -> dict[str, Any]:
        entry = self._objects(bucket).get(name)
        if (
            entry is None
            or self.query.get("generation", entry["generation"]) != entry["generation"]
        ):
            raise _Error(404)
        return entry

    def _check_generation(self, bucket: str, name: str) -> None:
        """Refuses what the request's conditions forbid; generation 0 is an absent object."""
        now = self._objects(bucket).get(name, {"generation": "0"})["generation"]
        if self.query.get("ifGenerationMatch", now) != now:
            raise _Error(412)
        if self.query.get("ifGenerationNotMatch") == now:
            raise _Error(304 if self.command == "GET" else 412)

    def _get_bucket(self, bucket: str) -> None:
        self._objects(bucket)
        self._send_json({"kind": "storage#bucket", "id": bucket, "name": bucket, "location": "US"})

    def _list(self, bucket: str) -> None:
        query, objects = self.query, self._objects(bucket)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start, end = query.get("startOffset", ""), query.get("endOffset")
        found: dict[str, dict[str, Any] | None] = {}
        for name in sorted(objects):
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            head, slash, _ = name[len(prefix) :].partition(delimiter or "\0")
            found[prefix + head + slash if slash else name] = None if slash else objects[name]
        names = [name for name in found if name > query.get("pageToken", "")]
        page = names[: int(query.get("maxResults", 1000))]
        reply: dict[str, Any] = {"kind": "storage#objects"}
        if items := [_public(entry) for name in page if (entry := found[name])]:
            reply["items"] = items
        if prefixes := [name for name in page if found[name] is None]:
            reply["prefixes"] = prefixes
        if len(page) < len(names):
            reply["nextPageToken"] = page[-1]
        self._send_json(reply)

    def _get(self, bucket: str, name: str) -> None:
        if self.query.get("alt") == "media":
            return self._get_media(bucket, name)
        self._check_generation(bucket, name)
        self._send_json(_public(self._find(bucket, name)))

    def _get_media(self, bucket: str, name: str) -> None:
        entry = self._find(bucket, name)
        self._check_generation(bucket, name)
        data, headers = (
            entry["data"],
            {
                "Content-Type": entry["contentType"],
                "Last-Modified": formatdate(usegmt=True),
                "X-Goog-Generation": entry["generation"],
                "X-Goog-Metageneration": "1",
                "X-Goog-Stored-Content-Length": entry["size"],
                "X-Goog-Hash": f"md5={entry['md5Hash']}",
            },
        )
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return self._send(200, data, headers)
        first, last = match.groups()
        begin = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if begin >= len(data):
            raise _Error(416)
        headers["Content-Range"] = f"bytes {begin}-{stop - 1}/{len(data)}"
        self._send(206, data[begin:stop], headers)

    def _delete(self, bucket: str, name: str) -> None:
        self._find(bucket, name)
        self._check_generation(bucket, name)
        del self.server.buckets[bucket][name]
        self._send(204, b"")

    def _copy(
        self, bucket: str, name: str, verb: str, to_name: str, to_bucket: str | None = None
    ) -> None:
        source, to_bucket = self._find(bucket, name), to_bucket or bucket
        self._objects(to_bucket)
        entry = _public(self.server.write(to_bucket, to_name, source["data"]))
        if verb == "moveTo":
            del self.server.buckets[bucket][name]
        size = entry["size"]
        rewritten = {"done": True, "objectSize": size, "totalBytesRewritten": size}
        self._send_json(rewritten | {"resource": entry} if verb == "rewriteTo" else entry)

    def _upload(self, bucket: str) -> None:
        """Takes a whole object, or opens or continues a resumable upload."""
        query, kind = self.query, self.query.get("uploadType")
        self._objects(bucket)
        if "upload_id" in query:
            return self._resume(query["upload_id"])
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)"?', self.headers["Content-Type"])[1]
            _, first, second = self.body.split(b"--" + boundary.encode(), 3)[:3]
            resource = json.loads(_split_part(first))
            data = _split_part(second)
        else:
            resource, data = (
                json.loads(self.body or b"{}") if kind == "resumable" else {},
                self.body,
            )
        name = query.get("name") or resource["name"]
        self._check_generation(bucket, name)
        if kind == "resumable":
            upload_id = f"upload{next(self.server.counter)}"
            self.server.uploads[upload_id] = {"bucket": bucket, "name": name, "data": b""}
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload_id}"
            return self._send(200, b"", {"Location": self.server.url + path})
        self._send_json(_public(self.server.write(bucket, name, data)))

    def _resume(self, upload_id: str) -> None:
        """Adds a part; the last one says how long the whole is."""
        upload = self.server.uploads[upload_id]
        upload["data"] += self.body
        total = self.headers.get("Content-Range", "/").rpartition("/")[2]
        if total.isdigit() and len(upload["data"]) < int(total) or total == "*":
            ranges = {"Range": f"bytes=0-{len(upload['data']) - 1}"} if upload["data"] else {}
            return self._send(308, b"", ranges)
        del self.server.uploads[upload_id]
        self._send_json(_public(self.server.write(**upload)))

    def _cancel(self, bucket: str) -> None:
        self.server.uploads.pop(self.query["upload_id"], None)
        self._send(499, b"")

    def _send_json(self, reply: dict[str, Any]) -> None:
        self._send(200, json.dumps(reply).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _public(entry: dict[str, Any]) -> dict[str, Any]:
    """The resource of an object without its bytes."""
    return {key: value for key, value in entry.items() if key != "data"}


def _split_part(part: bytes) -> bytes:
    """The contents of one part of a multipart message."""
    newline = b"\r\n" if b"\r\n\r\n" in part[:300] else b"\n"
    _, _, contents = part.partition(2 * newline)
    return contents.removesuffix(newline)
