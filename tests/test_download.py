"""Checkpoints from a server on this machine."""

import functools
import hashlib
import http.server
import threading

import pytest

from stylegan_jax.download import HashError, download, fetch, hash_file, is_url


@pytest.fixture
def server(tmp_path):
    """A folder, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        """Promises more than a file of the name `cut` holds, and says nothing of it."""

        def send_header(self, keyword, value):
            if keyword == "Content-Length" and "cut" in self.path:
                value = str(int(value) + 5)
            super().send_header(keyword, value)

        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{service.server_port}"
        service.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server, tmp_path):
    folder, address = server
    (folder / "net.pkl").write_bytes(b"first")
    path = download(f"{address}/net.pkl?version=1", tmp_path / "kept")
    assert path.read_bytes() == b"first" and path.suffix == ".pkl"
    (folder / "net.pkl").write_bytes(b"second")
    assert download(f"{address}/net.pkl?version=1", tmp_path / "kept").read_bytes() == b"first"
    # Another address is another file.
    assert download(f"{address}/net.pkl", tmp_path / "kept").read_bytes() == b"second"


def test_what_is_refused_leaves_nothing(server, tmp_path):
    folder, address = server
    (folder / "cut.pkl").write_bytes(b"half")
    (folder / "page.html").write_text("<p>Sign in first")
    kept = tmp_path / "kept"
    for url, error, text in (
        (f"{address}/cut.pkl", ConnectionError, "ended after 4 of 9 bytes"),
        (f"{address}/page.html", ValueError, "is a web page"),
        (f"{address}/none.pkl", ConnectionError, "404"),
        (f"{address}/", ValueError, "no address of a file"),
        ("runs/faces", ValueError, "no address of a file"),
    ):
        with pytest.raises(error, match=text):
            download(url, kept)
    assert not kept.exists() or not list(kept.iterdir())


def test_a_file_of_another_hash_is_not_kept(server, tmp_path):
    folder, address = server
    (folder / "net.pth").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    path = tmp_path / "kept" / "net.pth"
    for wrong in (digest[::-1], "0" + digest[:7]):
        with pytest.raises(HashError, match=f"SHA-256 is {digest}, not {wrong}.*Nothing was kept"):
            fetch(f"{address}/net.pth", path, sha256=wrong)
        assert not list(path.parent.iterdir())
    # The whole hash, the first digits of it, or none.
    for sha256 in (digest, digest[:8], None):
        fetch(f"{address}/net.pth", path, sha256=sha256)
        assert hash_file(path) == digest
        path.unlink()


def test_addresses_are_told_from_paths():
    texts = ["https://a.org/b.pkl", "http://a.org/b.pkl", "gs://a/b", "runs/a", "C:/a.pkl"]
    assert [is_url(text) for text in texts] == [True, True, False, False, False]
