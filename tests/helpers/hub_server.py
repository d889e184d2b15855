"""A stand-in of the Hugging Face hub on loopback, which the library's own client talks to.

It has the part of the hub's HTTP interface that a model needs: information, lists of files and
downloads at a branch or a commit; making a repository, and uploading to it by a commit (NDJSON),
large files by git-lfs. Data sets are read through the same addresses.
"""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

TOKEN = "hf_of_me"  # of the user `me`, who may write what begins with `me/`
Files = dict[str, bytes]


@dataclasses.dataclass
class Repository:
    """Every commit's files, the newest last; commits are named by a digest of what is in them."""

    private: bool = False
    commits: list[tuple[str, Files]] = dataclasses.field(default_factory=list)

    def commit(self, files: Files) -> str:
        """Adds a commit; returns its name."""
        text = repr((len(self.commits), sorted(files.items()))).encode()
        self.commits.append((hashlib.sha1(text).hexdigest(), dict(files)))
        return self.commits[-1][0]

    def find(self, revision: str) -> tuple[str, Files] | None:
        """(name, files) of a branch or a commit; None: there is no such revision."""
        if revision == "main":
            return self.commits[-1]
        return next((each for each in self.commits if each[0] == revision), None)


class Hub:
    """What the stand-in holds, and how it misbehaves.

    Attributes:
      holds: name of a model, or "datasets/" and that of a data set -> its repository.
      large: endings of names that are uploaded by git-lfs.
      refused: part of an address -> the status that it is answered with.
      torn: a file whose download breaks off halfway, and has no answer from then on.
      asked: (method, address) in the order of asking.
    """

    def __init__(self) -> None:
        self.holds: dict[str, Repository] = {}
        self.large = (".safetensors",)
        self.refused: dict[str, int] = {}
        self.torn = ""
        self.asked: list[tuple[str, str]] = []
        self.blobs: dict[str, bytes] = {}

    def add(self, name: str, folder: pathlib.Path) -> str:
        """Adds a commit with a folder's files; returns its name."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return self.holds.setdefault(name, Repository()).commit(files)

    def files(self, name: str) -> Files:
        """The files of the newest commit."""
        return self.holds[name].commits[-1][1]


@contextlib.contextmanager
def hub_server(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Runs a hub while the block runs, logged in as `me`, with an empty cache in a folder."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    point_at(address, cache, monkeypatch)
    try:
        yield hub
    finally:
        huggingface_hub.close_session()  # else its idle connections are waited for
        server.shutdown()
        thread.join()
        server.server_close()


def point_at(address: str, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the client talk to another address, and keep what it fetches in a folder."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own
    monkeypatch.setenv("HF_TOKEN", TOKEN)


class _Refused(Exception):
    """An answer that is none: its status, the hub's code for it, and its words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


_KIND = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_ROUTES = {
    "GET": [
        (rf"{_KIND}(/revision/(?P<revision>[^/]+))?", "information"),
        (rf"{_KIND}/tree/(?P<revision>[^/]+)(?P<under>/.*)?", "tree"),
        (r"/(?P<name>(datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    ],
    "POST": [
        (rf"{_KIND}/paths-info/(?P<revision>[^/]+)", "paths_info"),
        (r"/api/repos/create", "create"),
        (r"/api/validate-yaml", "validate"),
        (rf"{_KIND}/preupload/main", "preupload"),
        (r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        (rf"{_KIND}/commit/main", "commit"),
    ],
    "PUT": [(r"/lfs/(?P<digest>[0-9a-f]+)", "upload")],
}


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request. A method that is named in `_ROUTES` answers what its pattern matches."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address, _, query = self.path.partition("?")
        address = urllib.parse.unquote(address)
        self._query = urllib.parse.parse_qs(query)
        self.hub.asked.append((self.command, address))
        try:
            for part, status in self.hub.refused.items():
                if part in address:
                    raise _Refused(status, "", "refused for a test")
            for pattern, name in _ROUTES[method]:
                if match := re.fullmatch(pattern, address):
                    getattr(self, f"_{name}")(**match.groupdict())
                    return
            raise _Refused(404, "", f"no such address: {address}")
        except _Refused as refused:
            self._send(
                json.dumps({"error": str(refused)}).encode(),
                status=refused.status,
                headers={"X-Error-Code": refused.code, "X-Error-Message": str(refused)},
            )

    def _send(self, body: bytes, *, status: int = 200, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    # Reading ------------------------------------------------------------------------------------

    def _revision(self, name: str, revision: str | None) -> tuple[str, Files]:
        known = self._may_write(name)
        found = self.hub.holds.get(name)
        if found is None or (found.private and not known):
            # To a stranger the hub does not say whether there is one.
            raise _Refused(404 if known else 401, "RepoNotFound", "Repository not found")
        if not found.commits:
            return "0" * 40, {}
        at = found.find(revision or "main")
        if at is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return at

    def _information(self, kind: str, name: str, revision: str | None = None) -> None:
        commit, files = self._revision(_place(kind, name), revision)
        siblings = [{"rfilename": path} for path in sorted(files)]
        self._send_json({"id": name, "sha": commit, "siblings": siblings, "tags": []})

    def _tree(self, kind: str, name: str, revision: str, under: str | None) -> None:
        _, files = self._revision(_place(kind, name), revision)
        start = f"{under.strip('/')}/" if under else ""
        inside = {path: files[path] for path in sorted(files) if path.startswith(start)}
        if under and not inside:
            raise _Refused(404, "EntryNotFound", f"{under} does not exist")
        if self._query.get("recursive") != ["true"]:
            inside = {path: c for path, c in inside.items() if "/" not in path[len(start) :]}
        self._send_json([self._entry(path, content) for path, content in inside.items()])

    def _paths_info(self, kind: str, name: str, revision: str) -> None:
        _, files = self._revision(_place(kind, name), revision)
        asked = json.loads(self._body)["paths"]
        self._send_json([self._entry(path, files[path]) for path in asked if path in files])

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
        if path.endswith(self.hub.large):
            lfs = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
            entry["lfs"] = lfs
        return entry | {"oid": _git_sha1(content)}

    def _resolve(self, name: str, revision: str, path: str) -> None:
        commit, files = self._revision(name, revision)
        if path not in files:
            raise _Refused(404, "EntryNotFound", f"{path} does not exist")
        content, headers = files[path], {"X-Repo-Commit": commit}
        if path.endswith(self.hub.large):
            headers["X-Linked-Etag"] = f'"{_sha256(content)}"'
            headers["X-Linked-Size"] = str(len(content))
        if self.command == "GET" and path == self.hub.torn:
            self.close_connection = True
            if self.hub.asked.count(self.hub.asked[-1]) == 1:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
            return
        self._send(content, headers=headers | {"ETag": f'"{_git_sha1(content)}"'})

    # Writing ------------------------------------------------------------------------------------

    def _may_write(self, name: str) -> bool:
        """Whether whoever asks is logged in and may write the repository."""
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        return given is not None and name.removeprefix("datasets/").startswith("me/")

    def _check_writer(self, name: str) -> None:
        if not self._may_write(name):
            if "Authorization" not in self.headers:
                raise _Refused(401, "", "Invalid username or password.")
            raise _Refused(403, "", f"You don't have the rights to write {name}")

    def _create(self) -> None:
        asked = json.loads(self._body)
        name = f"{asked['organization']}/{asked['name']}"
        self._check_writer(name)
        url = f"http://{self.headers['Host']}/{name}"
        if name in self.hub.holds:
            said = {"error": "You already created this model repo", "url": url}
            self._send(json.dumps(said).encode(), status=409, headers={})
            return
        private = "private" in (asked.get("visibility"), asked.get("private") and "private")
        self.hub.holds[name] = Repository(private)
        self.hub.holds[name].commit({".gitattributes": b""})
        self._send_json({"url": url})

    def _validate(self) -> None:
        self._send_json({"warnings": []})

    def _preupload(self, kind: str, name: str) -> None:
        self._check_writer(name)
        files = self.hub.files(_place(kind, name))
        self._send_json({"files": [self._upload_of(file, files) for file in self._files()]})

    def _files(self) -> list[dict[str, Any]]:
        return json.loads(self._body)["files"]

    def _upload_of(self, asked: dict[str, Any], files: Files) -> dict[str, Any]:
        path = asked["path"]
        large = path.endswith(self.hub.large)
        answer = {"path": path, "shouldIgnore": False, "uploadMode": "lfs" if large else "regular"}
        if path in files:
            answer["oid"] = _sha256(files[path]) if large else _git_sha1(files[path])
        return answer

    def _lfs_batch(self, name: str) -> None:
        self._check_writer(name)
        base = f"http://{self.headers['Host']}/lfs"
        objects = [
            each | {"actions": {"upload": {"href": f"{base}/{each['oid']}"}}}
            for each in json.loads(self._body)["objects"]
        ]
        self._send_json({"transfer": "basic", "objects": objects})

    def _upload(self, digest: str) -> None:
        if _sha256(self._body) != digest:
            raise _Refused(400, "", "the content is not that of the address")
        self.hub.blobs[digest] = self._body
        self._send(b"", headers={})

    def _commit(self, kind: str, name: str) -> None:
        self._check_writer(name)
        place = _place(kind, name)
        files = dict(self.hub.files(place))
        for line in self._body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        commit = self.hub.holds[place].commit(files)
        url = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        self._send_json({"commitOid": commit, "commitUrl": url})


def _place(kind: str, name: str) -> str:
    return name if kind == "models" else f"datasets/{name}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
