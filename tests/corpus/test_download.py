"""Downloads against a real HTTP server on this machine that misbehaves as told."""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tagsage.corpus.download import Limits, _get, download
from tagsage.corpus.medium import download_medium
from tagsage.errors import TagsageError

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
ETAG = '"version-1"'
LIMITS = Limits(max_bytes=1_000_000, timeout_s=20, first_wait_s=0.01)


class Server:
    """Serves `content`; each entry of `script` spoils one answer, in order."""

    def __init__(self):
        self.content = CONTENT
        self.etag = ETAG
        self.script = []
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.path, dict(self.headers)))
                step = server.script.pop(0) if server.script else serve
                step(server, self)

            def log_message(self, *args):
                """Keep quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/medium_articles.csv"

    def sent(self, header):
        return [headers.get(header) for _, headers in self.requests]


def answer(handler, status, headers, body=b""):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)


def serve(server, handler, cut=None, ranges=True):
    """Answer as a good server does; with `cut`, end the connection after so many bytes."""
    asked = handler.headers
    headers = {"ETag": server.etag} if server.etag else {}
    if server.etag and asked.get("If-None-Match") == server.etag:
        return answer(handler, 304, headers)
    start = 0
    if ranges and asked.get("Range") and asked.get("If-Range") == server.etag:
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        last = len(server.content) - 1
        headers["Content-Range"] = f"bytes {start}-{last}/{last + 1}"
    body = server.content[start:]
    headers["Content-Length"] = len(body)
    return answer(handler, 206 if start else 200, headers, body if cut is None else body[:cut])


def cut(after, **how):
    return lambda server, handler: serve(server, handler, cut=after, **how)


def status(code, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda server, handler: answer(handler, code, named)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "medium_articles.csv"


def files(target):
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


def test_a_file_is_downloaded_and_its_digest_noted_beside_it(server, target):
    fetched = download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    note = json.loads(target.with_name(target.name + ".sha256.json").read_text())
    assert note == {
        "url": server.url,
        "etag": ETAG,
        "size": len(CONTENT),
        "sha256": fetched.sha256,
        "when": fetched.when,
    }
    assert files(target) == ["medium_articles.csv", "medium_articles.csv.sha256.json"]


def test_a_transfer_cut_short_is_resumed_where_it_ended(server, target):
    server.script = [cut(70_000), cut(20_000)]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("Range") == [None, "bytes=70000-", "bytes=90000-"]
    assert server.sent("If-Range") == [None, ETAG, ETAG]


def test_a_transfer_that_a_run_before_left_off_is_resumed(server, target):
    server.script = [cut(70_000), status(404)]
    with pytest.raises(TagsageError, match="answered 404 Not Found; check the address"):
        download(server.url, target, LIMITS)
    assert not target.exists()
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("Range")[-1] == "bytes=70000-"


def test_a_version_that_changes_in_the_middle_is_fetched_from_the_start(server, target):
    def change_and_serve(server, handler):
        server.content, server.etag = b"new " * 30_000, '"version-2"'
        serve(server, handler)

    server.script = [cut(70_000), change_and_serve]
    fetched = download(server.url, target, LIMITS)
    assert target.read_bytes() == b"new " * 30_000
    assert fetched.etag == '"version-2"'


def test_a_part_of_another_version_is_not_joined_on(server, target):
    def careless(server, handler):
        """Ignore If-Range: send the rest of the new version."""
        server.content, server.etag = b"new " * 30_000, '"version-2"'
        body = server.content[70_000:]
        headers = {"ETag": server.etag, "Content-Length": len(body)}
        answer(handler, 206, headers | {"Content-Range": "bytes 70000-119999/120000"}, body)

    server.script = [cut(70_000), careless]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == b"new " * 30_000


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_nothing_is_resumed(server, target, etag):
    server.etag = etag
    server.script = [cut(70_000)]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("Range") == [None, None]


def test_a_server_without_ranges_is_read_from_the_start_again(server, target):
    server.script = [cut(70_000), lambda server, handler: serve(server, handler, ranges=False)]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT


def test_a_range_that_is_refused_is_given_up(server, target):
    server.script = [cut(70_000), status(416)]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("Range") == [None, "bytes=70000-", None]


def test_a_part_that_is_complete_is_not_fetched_again(server, target):
    server.script = [cut(70_000), status(404)]
    with pytest.raises(TagsageError, match="answered 404"):
        download(server.url, target, LIMITS)
    target.with_name(target.name + ".part").write_bytes(CONTENT)
    server.script = [status(416, Content_Range=f"bytes */{len(CONTENT)}")]
    fetched = download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert (fetched.etag, fetched.size) == (ETAG, len(CONTENT))
    assert not server.script


def test_an_overloaded_server_is_asked_again(server, target):
    server.script = [status(503), status(429, Retry_After=0), status(502)]
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 4


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(server, target, monkeypatch, form):
    waits = []
    monkeypatch.setattr("tagsage.corpus.download.time.sleep", waits.append)
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)
    server.script = [status(503, Retry_After="7" if form == "seconds" else moment)]
    download(server.url, target, LIMITS)
    assert waits == [pytest.approx(7, abs=2)]


def test_a_wait_longer_than_the_time_left_is_not_begun(server, target):
    server.script = [status(429, Retry_After=3600)]
    with pytest.raises(TagsageError, match=r"did not come within 20 s .*429.*in 3600 s"):
        download(server.url, target, LIMITS)


def test_a_server_that_stays_broken_is_given_up(server, target):
    server.script = [status(500)] * 99
    with pytest.raises(TagsageError, match="answered 500 Internal Server Error; try again later"):
        download(server.url, target, LIMITS)
    assert len(server.requests) == 5


def test_a_slow_drip_is_ended_by_the_time_limit_and_goes_on_later(server, target):
    def drip(server, handler):
        handler.send_response(200)
        handler.send_header("ETag", ETAG)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        for place in range(0, len(CONTENT), 100):
            try:
                handler.wfile.write(CONTENT[place : place + 100])
            except OSError:
                return
            time.sleep(0.05)

    server.script = [drip]
    with pytest.raises(TagsageError, match=r"did not come within 0\.6 s .*download_timeout_s"):
        download(server.url, target, Limits(1_000_000, 0.6))
    assert not target.exists()
    kept = target.with_name(target.name + ".part").stat().st_size
    assert kept > 0
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("Range")[-1] == f"bytes={kept}-"


def test_a_silent_server_is_ended_by_the_time_limit(server, target):
    ended = threading.Event()
    server.script = [lambda server, handler: ended.wait(10)]
    with pytest.raises(TagsageError, match=r"did not come within 0\.5 s \(the server is silent\)"):
        download(server.url, target, Limits(1_000_000, 0.5))
    ended.set()


@pytest.mark.parametrize("told", [True, False])
def test_a_file_beyond_the_size_limit_is_refused(server, target, told):
    def untold(server, handler):
        answer(handler, 200, {}, CONTENT)  # HTTP/1.0: the end of the connection ends the file

    server.script = [] if told else [untold]
    with pytest.raises(TagsageError, match="larger than the 102,399 bytes allowed; raise down"):
        download(server.url, target, Limits(102_399, 20))
    assert not target.exists()


def test_a_file_of_unannounced_length_is_taken_as_it_ends(server, target):
    server.script = [lambda server, handler: answer(handler, 200, {}, CONTENT)]
    assert download(server.url, target, LIMITS).etag == ""
    assert target.read_bytes() == CONTENT


def test_a_complete_file_is_asked_about_and_not_sent_again(server, target):
    first = download(server.url, target, LIMITS)
    assert download(server.url, target, LIMITS) == first
    assert server.sent("If-None-Match") == [None, ETAG]


def test_a_complete_file_is_replaced_when_the_server_has_a_new_one(server, target):
    download(server.url, target, LIMITS)
    server.content, server.etag = b"new", '"version-2"'
    assert download(server.url, target, LIMITS).size == 3
    assert target.read_bytes() == b"new"


def test_a_file_changed_on_disk_is_fetched_again(server, target):
    download(server.url, target, LIMITS)
    target.write_bytes(b"changed")
    download(server.url, target, LIMITS)
    assert target.read_bytes() == CONTENT
    assert server.sent("If-None-Match") == [None, None]


@pytest.mark.parametrize("note", ["", "[]", '{"url": "x"}', "{"])
def test_a_damaged_note_makes_the_file_be_fetched_again(server, target, note):
    download(server.url, target, LIMITS)
    target.with_name(target.name + ".sha256.json").write_text(note)
    download(server.url, target, LIMITS)
    assert server.sent("If-None-Match") == [None, None]


def test_a_complete_file_is_used_when_the_server_cannot_be_asked(server, target, caplog):
    first = download(server.url, target, LIMITS)
    server.script = [status(404)]
    assert download(server.url, target, LIMITS) == first
    assert "The copy of " in caplog.text
    assert target.read_bytes() == CONTENT


def test_plain_http_is_refused_except_on_this_machine(target):
    for url in ("http://site.example/a.csv", "ftp://site.example/a.csv", "a.csv"):
        with pytest.raises(TagsageError, match="is not https; downloads come over https only"):
            download(url, target, LIMITS)
    with pytest.raises(TagsageError, match="is not a URL"):
        download("https://a.example:port/", target, LIMITS)


def test_a_redirect_is_followed_to_https_only(server, target):
    server.script = [status(302, Location=f"{server.url}/elsewhere")]
    with pytest.raises(TagsageError, match=r"redirects to http://127.* not https; refused"):
        download(server.url, target, LIMITS)


@pytest.mark.parametrize("hops", [5, 6])
def test_redirects_are_followed_up_to_five(hops):
    def reply(request):
        done = int(request.url.path[1:])
        if done == hops:
            return httpx.Response(200, text=str(request.url))
        return httpx.Response(302, headers={"Location": f"//host{done}.example/{done + 1}"})

    with httpx.Client(transport=httpx.MockTransport(reply)) as client:
        deadline = time.monotonic() + 20
        if hops > 5:
            with (
                pytest.raises(TagsageError, match="redirects more than 5 times"),
                _get(client, "https://site.example/0", {}, deadline),
            ):
                pass
        else:
            with _get(client, "https://site.example/0", {}, deadline) as response:
                assert response.read() == b"https://host4.example/5"


def test_a_server_that_is_not_there_is_told(target):
    with pytest.raises(TagsageError, match=r"127\.0\.0\.1:9/a could not be downloaded: .*later"):
        download("http://127.0.0.1:9/a", target, LIMITS)
    assert files(target) == []


@contextmanager
def held(path):
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_second_process_does_not_write_the_same_file(server, target):
    lock = target.with_name(f".{target.name}.lock")
    with held(lock), pytest.raises(TagsageError, match="Another process is downloading"):
        download(server.url, target, LIMITS)


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TagsageError, match=r"file/a\.csv cannot be written: "):
        download(server.url, tmp_path / "file" / "a.csv", LIMITS)


def test_the_studys_two_files_are_downloaded(server, tmp_path):
    base = server.url.rpartition("/")[0] + "/"
    articles, lists = download_medium(tmp_path, base_url=base, max_bytes=1_000_000, timeout_s=20)
    assert [path for path, _ in server.requests] == ["/medium_articles.csv", "/medium_lists.csv"]
    assert articles.read_bytes() == lists.read_bytes() == CONTENT
