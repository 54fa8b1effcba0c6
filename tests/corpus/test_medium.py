"""The study's data set from a real HTTP server on this machine that misbehaves."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tagsage.corpus import medium
from tagsage.corpus.medium import FILES, medium_files
from tagsage.errors import TagsageError

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


class Server:
    """Serves `CONTENT`; each entry of `script` (status, bytes sent) spoils one answer, in order."""

    def __init__(self):
        self.script = []
        self.paths = []
        self.ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.paths.append(self.path)
                status, sent = server.script.pop(0) if server.script else (200, len(CONTENT))
                self.send_response(status)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT[:sent])
                if status == 200 and sent == 1:
                    server.ended.wait(10)  # and no more

            def log_message(self, *args):
                """Keep quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def server(monkeypatch):
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(medium, "URL", f"http://ann:hush@127.0.0.1:{server.http.server_port}/")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    yield server
    server.ended.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def test_files_are_downloaded_once(server, tmp_path):
    for _ in range(2):
        articles, lists = medium_files(tmp_path / "downloads")
    assert server.paths == [f"/{name}" for name in FILES]
    for file, name in ((articles, FILES[0]), (lists, FILES[1])):
        assert file == str(tmp_path / "downloads" / name)
        assert (tmp_path / "downloads" / name).read_bytes() == CONTENT


def test_what_fails_for_a_while_is_tried_again(server, tmp_path):
    server.script = [(503, 0), (200, 70_000), (200, len(CONTENT))]
    articles, _ = medium_files(tmp_path)
    assert (tmp_path / articles).read_bytes() == CONTENT
    assert len(server.paths) == 4


@pytest.mark.parametrize(
    ("script", "limit", "said"),
    [
        ([(404, 0)] * 9, {}, "could not be downloaded to .*404"),
        ([(200, 70_000)] * 9, {}, "could not be downloaded to "),
        ([], {"MAX_BYTES": 102_399}, "is larger than the 102,399 bytes allowed"),
        ([], {"MAX_SECONDS": -1}, "did not come within -1 s; try again later"),
        ([(200, 1)] * 9, {"SILENCE_S": 0.1}, "could not be downloaded to .*timed out"),
    ],
)
def test_failure_is_one_sentence_without_secrets_and_leaves_no_file(
    server, tmp_path, monkeypatch, script, limit, said
):
    server.script = script
    for name, value in limit.items():
        monkeypatch.setattr(medium, name, value)
    with pytest.raises(TagsageError, match=said) as caught:
        medium_files(tmp_path / "downloads")
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "downloads").iterdir()) == []
