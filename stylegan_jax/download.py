"""Files from the web: loaded once, then kept."""

import hashlib
import http.client
import os
import pathlib
import shutil
import urllib.error
import urllib.parse
import urllib.request

from etils import epath
from tqdm import tqdm

from stylegan_jax.files import replacing

FOLDER = "~/.cache/stylegan_jax/downloads"
# Longest wait for a server to answer.
_TIMEOUT_SEC = 30
_CHUNK_BYTES = 2**20


class HashError(ValueError):
    """A file that is not the one that was wanted."""


def is_url(text: str) -> bool:
    """Tells whether a checkpoint is named by an address of the web."""
    return text.startswith(("http://", "https://"))


def download(url: str, folder: str | os.PathLike = FOLDER) -> pathlib.Path:
    """Fetches a file, with a bar of progress; one that was fetched before is not asked for again.

    Args:
        url: Address of the file itself, http or https.
        folder: Where it is kept; made if missing.

    Returns:
        The local file. Its name ends as the address does, which tells what kind it is.

    Raises:
        ValueError: No such address, or a web page lies there.
        ConnectionError: It cannot be reached, or ended too early; nothing is kept then.
    """
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name
    if not is_url(url) or not name:
        raise ValueError(f"{url!r} is no address of a file: give https://HOST/PATH/NAME.pkl.")
    # Files of one name lie at many addresses.
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    path = pathlib.Path(folder).expanduser() / f"{digest}_{name}"
    if not path.exists():
        fetch(url, path)
    return path


def fetch(url: str, path: epath.PathLike, *, sha256: str | None = None) -> None:
    """Fetches a file to a path, with a bar of progress.

    Args:
        url: Address of the file itself, http or https.
        path: Where it is written; folders are made.
        sha256: Its hash, or the first digits of it; None: any file will do.

    Raises:
        ValueError: A web page lies there; HashError: another file does.
        ConnectionError: It cannot be reached, or ended too early. Nothing is kept of any of these.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SEC) as response:
            _write(response, epath.Path(path), url, sha256)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise ConnectionError(f"{url} cannot be loaded: {error}.") from error


def hash_file(path: epath.PathLike) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write(response, path: epath.Path, url: str, sha256: str | None) -> None:
    """Writes an answer to a file, if it is the whole of one, and the one that was wanted."""
    # Hosts of files ask before large ones, or show a page around the file.
    if response.headers.get_content_type() == "text/html":
        raise ValueError(f"{url} is a web page: give the address of the file itself.")
    length = int(response.headers.get("Content-Length") or 0)
    with replacing(path) as partial:
        bar = tqdm.wrapattr(
            response, "read", total=length or None, desc=path.name, miniters=1, leave=False
        )
        with partial.open("wb") as file, bar as stream:
            shutil.copyfileobj(stream, file, _CHUNK_BYTES)
        received = partial.stat().st_size
        if length and received != length:
            raise ConnectionError(f"{url} ended after {received} of {length} bytes: try again.")
        if sha256 and not (found := hash_file(partial)).startswith(sha256):
            raise HashError(
                f"{url} gave a file whose SHA-256 is {found}, not {sha256}: it is another file, or "
                "was changed on its way. Nothing was kept."
            )
