"""Downloads, from a server in this process."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.data.download import Published, download

CONTENT = bytes(range(256)) * 3000


@pytest.fixture(scope="module")
def address():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/file":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def published(address, content=CONTENT, name="file"):
    return Published(f"{address}/{name}", hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_comes_whole_and_shows_its_progress(address, tmp_path):
    seen = []
    download(published(address), tmp_path / "file", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    "file",
    [
        lambda address: published(address, CONTENT[:-1] + b"!"),
        lambda address: published(address, CONTENT[:1000]),
        lambda address: published(address, name="gone"),
        lambda address: published("http://127.0.0.1:1"),
    ],
    ids=["another", "longer", "gone", "no server"],
)
def test_what_is_not_the_published_file_leaves_nothing(address, tmp_path, file):
    with pytest.raises(NetcError) as caught:
        download(file(address), tmp_path / "file")
    assert "--from" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []
