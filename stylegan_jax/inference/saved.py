"""Styles and noise in a file, from which a network draws the same pictures again.

The file is an `.npz`: `w`, float32 [n, num_ws, w_dim], as the original repositories name it;
`noise/BLOCK/LAYER`, float32 [1 or n, h, w, 1], for each noise input, where the noise is not the
network's own; and `about`, a text of JSON that says which network they are for. A file of others
has `w` alone.
"""

import json
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from stylegan_jax.files import as_path, replacing
from stylegan_jax.inference.arguments import check_noise, check_ws
from stylegan_jax.inference.generator import Generator
from stylegan_jax.models.blocks import Noise

# What stands before the name of a noise input.
_NOISE = "noise/"
# What must be the same for styles to mean anything.
_SAME = ("family", "image", "num_ws", "w_dim")


class SavedStyles(NamedTuple):
    """What files hold.

    Attributes:
        ws: float32 `[n, num_ws, w_dim]`.
        noise: `{block: {layer: [1 or n, h, w, 1]}}`; the network's own where a file has none.
        notes: What a user should know, a sentence each.
    """

    ws: np.ndarray
    noise: Noise
    notes: tuple[str, ...]

    def fingerprint(self, index: int) -> str:
        """Returns 8 hexadecimal digits that change with the styles or the noise of an image."""
        crc = zlib.crc32(self.ws[index].tobytes())
        for inner in self.noise.values():
            for x in inner.values():
                crc = zlib.crc32(np.asarray(x[index if len(x) > 1 else 0]).tobytes(), crc)
        return f"{crc:08x}"


def write_styles(
    path: epath.PathLike, generator: Generator, ws: np.ndarray, noise: Noise | None = None
) -> None:
    """Writes styles, and the noise that they are drawn with.

    Args:
        path: A file that ends in .npz, local or in a bucket.
        generator: What draws them.
        ws: float32 `[n, num_ws, w_dim]`.
        noise: `{block: {layer: [1 or n, h, w, 1]}}`; None: the network's own, which it keeps.

    Raises:
        ValueError: Another name, or what this network does not draw.
    """
    path = as_path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: give the name of a file that ends in .npz.")
    ws = check_ws(ws, generator.num_ws, generator.w_dim)
    check_noise(noise, generator.noise_inputs, len(ws))
    arrays: dict[str, np.ndarray] = {"w": ws}
    for block, inner in (noise or {}).items():
        for layer, values in inner.items():
            arrays[f"{_NOISE}{block}/{layer}"] = np.asarray(values, np.float32)
    text = json.dumps(_describe(generator)).encode()
    arrays["about"] = np.frombuffer(text, np.uint8)
    with replacing(path) as file, file.open("wb") as stream:
        np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]


def read_styles(paths: Sequence[epath.PathLike], generator: Generator) -> SavedStyles:
    """Reads styles for a network, one file after another.

    Args:
        paths: Files of `write_styles`, or of others that have `w`.
        generator: What is to draw them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no styles, or those of another network; says of which.
    """
    if not paths:
        raise ValueError("No files of styles given: give at least one.")
    found = [_read_file(as_path(path).expanduser(), generator) for path in paths]
    ws = np.concatenate([one.ws for one in found])
    notes = tuple(note for one in found for note in one.notes)
    # One image's noise is that of all, if there is but one file.
    if len(found) == 1:
        return SavedStyles(ws, found[0].noise, notes)
    noise: Noise = {}
    for block, layer in generator.noise_layers():
        parts = []
        for one in found:
            values = one.noise[block][layer]
            parts.append(np.broadcast_to(values, (len(one.ws), *values.shape[1:])))
        noise.setdefault(block, {})[layer] = np.concatenate(parts)
    return SavedStyles(ws, noise, notes)


def _read_file(path: epath.Path, generator: Generator) -> SavedStyles:
    """Reads one file."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: give an .npz of styles.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        ws = np.asarray(arrays.pop("w"), np.float32)
        text = arrays.pop("about", None)
        about: dict[str, Any] = dict(json.loads(text.tobytes())) if text is not None else {}
        maps = {
            name.removeprefix(_NOISE): np.asarray(values, np.float32)
            for name, values in arrays.items()
            if name.startswith(_NOISE)
        }
    # No archive, a damaged one, one of objects, or of other things.
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is no file of styles: give an .npz that tools.project wrote, or any that has "
            "`w`, float32 [n, num_ws, w_dim]."
        ) from error
    _check_network(path, about, ws, generator)

    # The noise by block and layer.
    noise: Noise = {}
    for name, values in maps.items():
        block, _, layer = name.partition("/")
        noise.setdefault(block, {})[layer] = values
    try:
        check_noise(noise, generator.noise_inputs, len(ws))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

    notes = ()
    if about and about.get("weights") != generator.fingerprint():
        notes = (
            f"{path} is of another network of this shape, {about.get('path')}: pictures differ.",
        )
    if not noise:
        return SavedStyles(ws, generator.stored_noise(), notes)
    # An input that is left out gets none.
    for block, layer, _, size in generator.noise_inputs:
        noise.setdefault(block, {}).setdefault(layer, np.zeros((1, *size, 1), np.float32))
    return SavedStyles(ws, noise, notes)


def _check_network(
    path: epath.Path, about: dict[str, Any], ws: np.ndarray, generator: Generator
) -> None:
    """Refuses styles of another network.

    Raises:
        ValueError: Says what both are.
    """
    if ws.ndim != 3 or not len(ws):
        raise ValueError(f"{path}: w has the shape {list(ws.shape)}: wanted [n, num_ws, w_dim].")
    here = _describe(generator)
    # Files of others tell the shape alone.
    there = {name: about[name] for name in _SAME if name in about}
    there |= {"num_ws": ws.shape[1], "w_dim": ws.shape[2]}
    if any(here[name] != value for name, value in there.items()):
        raise ValueError(
            f"{path} has styles of another network: {_name(there)}; {generator.origin.path} is "
            f"{_name(here)}. Give the checkpoint that they are of{_name_path(about)}."
        )


def _describe(generator: Generator) -> dict[str, Any]:
    """Returns what a file says of its network."""
    origin = generator.origin
    return {
        "family": origin.family,
        "image": [*generator.size, generator.img_channels],
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "path": origin.path,
        "source": origin.source,
        "network": origin.network,
        "kimg": origin.kimg,
        "weights": generator.fingerprint(),
    }


def _name_path(about: dict[str, Any]) -> str:
    """Returns where the network of a file was, if the file says."""
    return f", {about['path']}" if "path" in about else ""


def _name(about: dict[str, Any]) -> str:
    """Names a network by what must be the same."""
    shape = f"{about['num_ws']} layers of {about['w_dim']} numbers"
    if "family" not in about:
        return shape
    image = about.get("image")
    size = "x".join(map(str, image)) if isinstance(image, list) else image
    return f"{about['family']} of {size}, {shape}"
