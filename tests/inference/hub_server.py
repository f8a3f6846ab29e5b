"""A server that speaks the API of the Hugging Face Hub, as far as ``huggingface_hub`` uses it.

Models live in memory. ``requests`` lists what was asked, as method and path, and ``received`` the large
files that arrived, by SHA-256. ``broken`` uploads of large files lose their connection half way. Half of
the file ``held`` sets the event ``holding``.
"""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".arpa", ".png")
TOKEN = "hf_secretOfTheTests"


class Hub(ThreadingHTTPServer):
    """The server, on a free port of the loopback interface."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url, self.token = f"http://127.0.0.1:{self.server_port}", TOKEN
        self.lock, self.requests, self.received = Lock(), [], []
        self.blobs, self.repos = {}, {}
        self.broken, self.held, self.holding = 0, None, Event()
        self.closed = False

    def server_close(self):
        """Answer no more, not even on connections that are open."""
        self.closed = True
        super().server_close()

    def commit(self, name, files):
        """Make a commit of all files (path to SHA-256); returns its ID."""
        text = json.dumps([name, sorted(files.items()), len(self.repos[name]["commits"])])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.repos[name]["commits"][oid] = files
        self.repos[name]["main"] = oid
        return oid

    def files_of(self, name):
        """Files of the branch main, path to SHA-256."""
        return self.repos[name]["commits"][self.repos[name]["main"]]

    def oid(self, content):
        """The name of a large file of this content."""
        return hashlib.sha256(content).hexdigest()

    def store(self, content):
        """Keep a blob; returns its SHA-256."""
        self.blobs[self.oid(content)] = content
        return self.oid(content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Print nothing."""

    def answer(self):
        if self.server.closed:
            self.close_connection = True
            return None
        path = unquote(urlsplit(self.path).path)
        with self.server.lock:
            self.server.requests.append(f"{self.command} {path}")
        for method, pattern, function in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                if method != "PUT" and method != "GET" and not self.known():
                    return self.say(401, {"error": "Invalid username or password."})
                return function(self, *found.groups())
        return self.say(404, {"error": f"no {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def say(self, status, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": len(content)} | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, name, revision="main"):
        """Answer that there is no such model or revision, or none that may be read."""
        repo = self.server.repos.get(name)
        hidden = repo is not None and repo["private"] and not self.known()
        if repo is None or hidden:
            self.say(401 if not self.known() else 404, X_Error_Code="RepoNotFound")
        elif revision != "main" and revision not in repo["commits"]:
            self.say(404, X_Error_Code="RevisionNotFound")
        else:
            return False
        return True

    def files(self, name, revision):
        repo = self.server.repos[name]
        return repo["commits"][repo["main"] if revision == "main" else revision]

    # What follows answers one request each.

    def create(self):
        asked = json.loads(self.body())
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.server.repos:
            return self.say(409, {"url": f"{self.server.url}/{name}"})
        private = asked.get("private", False) or asked.get("visibility") == "private"
        self.server.repos[name] = {"private": private, "commits": {}}
        self.server.commit(name, {".gitattributes": self.server.store(b"")})
        return self.say(200, {"url": f"{self.server.url}/{name}", "id": name})

    def validate(self):
        card = json.loads(self.body())["content"]
        good = re.match(r"---\n.*\blicense: .*\n---\n", card, re.S)
        return self.say(200 if good else 400, {"errors": [], "warnings": []})

    def info(self, name, revision="main"):
        if self.missing(name, revision):
            return None
        repo = self.server.repos[name]
        sha = repo["main"] if revision == "main" else revision
        files = [{"rfilename": path} for path in self.files(name, revision)]
        return self.say(
            200, {"id": name, "sha": sha, "private": repo["private"], "siblings": files, "tags": []}
        )

    def tree(self, name, revision):
        if self.missing(name, revision):
            return None
        rows = []
        for path, oid in self.files(name, revision).items():
            size = len(self.server.blobs[oid])
            row = {"type": "file", "path": path, "size": size, "oid": git_oid(self.server.blobs[oid])}
            if path.endswith(LARGE):
                row["lfs"] = {"oid": oid, "size": size, "pointerSize": 130}
            rows.append(row)
        return self.say(200, rows)

    def preupload(self, name, revision):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body())["files"]
        ]
        return self.say(200, {"files": files})

    def batch(self, name):
        objects = []
        for one in json.loads(self.body())["objects"]:
            if one["oid"] not in self.server.blobs:
                one["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}
            objects.append(one)
        return self.say(200, {"transfer": "basic", "objects": objects})

    def put(self, oid):
        with self.server.lock:
            breaks = self.server.broken > 0
            self.server.broken -= breaks
        if breaks:
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
            self.close_connection = True
            self.connection.close()
            return None
        content = self.rfile.read(int(self.headers["Content-Length"]) // 2)
        if oid == self.server.held:
            self.server.holding.set()
        content += self.rfile.read(int(self.headers["Content-Length"]) - len(content))
        if hashlib.sha256(content).hexdigest() != oid:
            return self.say(400, {"error": "other content"})
        with self.server.lock:
            self.server.received.append(oid)
            self.server.blobs[oid] = content
        return self.say(200)

    def do_commit(self, name, revision):
        files = dict(self.files(name, revision))
        for line in self.body().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = self.server.store(base64.b64decode(value["content"]))
            elif entry["key"] == "lfsFile":
                files[value["path"]] = value["oid"]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        oid = self.server.commit(name, files)
        url = f"{self.server.url}/{name}/commit/{oid}"
        return self.say(200, {"commitUrl": url, "commitOid": oid})

    def resolve(self, name, revision, path):
        if self.missing(name, revision):
            return None
        files = self.files(name, revision)
        if path not in files:
            return self.say(404, X_Error_Code="EntryNotFound")
        content, repo = self.server.blobs[files[path]], self.server.repos[name]
        etag = files[path] if path.endswith(LARGE) else git_oid(content)
        commit = repo["main"] if revision == "main" else revision
        return self.say(200, content, ETag=f'"{etag}"', X_Repo_Commit=commit)


def git_oid(content):
    """The ID that git gives to the content of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("GET", f"/api/models/{REPO}", Handler.info),
    ("GET", f"/api/models/{REPO}/revision/(.+)", Handler.info),
    ("GET", f"/api/models/{REPO}/tree/(.+)", Handler.tree),
    ("POST", f"/api/models/{REPO}/preupload/(.+)", Handler.preupload),
    ("POST", f"/{REPO}.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/(.+)", Handler.put),
    ("POST", f"/api/models/{REPO}/commit/(.+)", Handler.do_commit),
    ("GET", f"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("HEAD", f"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
]


@contextmanager
def hub():
    """Run a server in a thread."""
    server = Hub()
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
