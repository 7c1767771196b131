"""Checkpoints from the web: loaded once, then kept."""

import hashlib
import os
import pathlib
import shutil
import urllib.error
import urllib.parse
import urllib.request

from tqdm import tqdm

from stylegan_jax.files import replacing

FOLDER = "~/.cache/stylegan_jax/downloads"
# Longest wait for a server to answer.
_TIMEOUT_SEC = 30


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
    if path.exists():
        return path
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SEC) as response:
            _write(response, path, url)
    except urllib.error.URLError as error:
        raise ConnectionError(f"{url} cannot be loaded: {error}.") from error
    return path


def _write(response, path: pathlib.Path, url: str) -> None:
    """Writes an answer to a file, if it is the whole of one."""
    # Hosts of files ask before large ones, or show a page around the file.
    if response.headers.get_content_type() == "text/html":
        raise ValueError(f"{url} is a web page: give the address of the file itself.")
    length = int(response.headers.get("Content-Length") or 0)
    with replacing(path) as partial:
        bar = tqdm.wrapattr(
            response, "read", total=length or None, desc=path.name, miniters=1, leave=False
        )
        with partial.open("wb") as file, bar as stream:
            shutil.copyfileobj(stream, file, 2**20)
        received = partial.stat().st_size
        if length and received != length:
            raise ConnectionError(f"{url} ended after {received} of {length} bytes: try again.")
