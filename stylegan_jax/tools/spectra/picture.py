"""Spectra as a picture: a heat map of each, and curves of their profiles below."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan_jax.metrics.spectrum import Profiles, image_size, smooth, smoothing_points

# Levels of the heat map in dB, and the colours of the lowest, the highest and those between.
_LOWEST_DB = -40
_HIGHEST_DB = 20
_STEP_DB = 5
_RAMP = (
    (0, 0, 30),
    (60, 20, 120),
    (180, 40, 100),
    (240, 120, 40),
    (255, 220, 100),
    (255, 255, 230),
)
# Deviation of the blur of heat maps, in cycles per image.
_BLUR_CYCLES = 1.25
_MAP_PX = 320
_GAP_PX = 24
_FONT_PX = 14
_PLOT_PX = 220
_CURVES = ("radial", "horizontal", "vertical", "diagonal")
_COLOURS = ("#1f6fb4", "#d9541e", "#2a9040", "#8a3fa0")


def decibels(power: np.ndarray) -> np.ndarray:
    """Returns 10 log10 of power; nothing is as low as -200 dB."""
    return 10 * np.log10(np.maximum(power, 1e-20))


def heat_map(spectrum: np.ndarray) -> np.ndarray:
    """Colours a spectrum in steps of 5 dB, from -40 (dark) to 20 (light).

    Returns:
        uint8 `[p, q, 3]`.
    """
    blurred = smooth(spectrum, smoothing_points(_BLUR_CYCLES))
    levels = np.floor((decibels(blurred) - _LOWEST_DB) / _STEP_DB)
    steps = (_HIGHEST_DB - _LOWEST_DB) // _STEP_DB
    share = np.clip(levels, 0, steps - 1) / (steps - 1) * (len(_RAMP) - 1)
    ramp = np.asarray(_RAMP)
    colours = [np.interp(share, range(len(_RAMP)), ramp[:, i]) for i in range(3)]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def draw_spectra(spectra: Mapping[str, np.ndarray], profiles: Mapping[str, Profiles]) -> np.ndarray:
    """Draws maps side by side, and below them a plot per kind of profile.

    Args:
        spectra: By name; all of one size.
        profiles: By the same names, which are the curves of each plot.

    Returns:
        uint8 `[h, w, 3]`.
    """
    maps = {name: _scaled(heat_map(spectrum)) for name, spectrum in spectra.items()}
    map_height, map_width = next(iter(maps.values())).size[::-1]
    columns = max(len(maps), len(_CURVES))
    cell = max(map_width, _MAP_PX)
    width = _GAP_PX + columns * (cell + _GAP_PX)
    below = 3 * _GAP_PX + map_height
    canvas = Image.new("RGB", (width, below + _PLOT_PX + 4 * _GAP_PX), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT_PX)

    # Zero frequency is in the middle of each map.
    for column, (name, picture) in enumerate(maps.items()):
        left = _GAP_PX + column * (cell + _GAP_PX)
        canvas.paste(picture, (left, 2 * _GAP_PX))
        size = "x".join(map(str, image_size(spectra[name])))
        note = f"{name}, {size} px, {_LOWEST_DB} to {_HIGHEST_DB} dB"
        draw.text((left, _GAP_PX), note, "black", font)
    for column, curve in enumerate(_CURVES):
        corner = (_GAP_PX + column * (cell + _GAP_PX), below)
        values = {name: decibels(getattr(p, curve)) for name, p in profiles.items()}
        frequency = next(iter(profiles.values())).frequency
        _draw_curves(draw, font, corner, (cell, _PLOT_PX), curve, frequency, values)
    return np.asarray(canvas)


def _scaled(pixels: np.ndarray) -> Image.Image:
    """Brings a map to about the size of a cell."""
    scale = _MAP_PX / max(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def _draw_curves(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[int, int],
    size: tuple[int, int],
    title: str,
    frequency: np.ndarray,
    curves: Mapping[str, np.ndarray],
) -> None:
    """Draws one plot: dB against cycles per pixel, its corner on the left above."""
    left, top = corner[0] + 2 * _GAP_PX, corner[1] + _GAP_PX
    right, bottom = corner[0] + size[0], corner[1] + _GAP_PX + size[1]
    every = np.concatenate(list(curves.values()))
    low = max(_STEP_DB * 2 * np.floor(every.min() / (_STEP_DB * 2)), -100)
    high = max(_STEP_DB * 2 * np.ceil(every.max() / (_STEP_DB * 2)), low + 10)

    def place(f: float, level: float) -> tuple[float, float]:
        share = (np.clip(level, low, high) - low) / (high - low)
        return left + (right - left) * f / 0.5, bottom - (bottom - top) * float(share)

    # Lines every 10 dB and every tenth of a cycle.
    draw.text((left, corner[1]), f"{title}, dB by cycles per pixel", "black", font)
    for level in np.arange(low, high + 1, 10):
        y = place(0, level)[1]
        draw.line([(left, y), (right, y)], "#dddddd")
        draw.text((left - 6, y), f"{level:g}", "black", font, anchor="rm")
    for tenth in range(6):
        x = place(tenth / 10, low)[0]
        draw.line([(x, top), (x, bottom)], "#dddddd")
        draw.text((x, bottom + 6), f"{tenth / 10:g}", "black", font, anchor="ma")

    # The curves, and which is which.
    for number, (name, levels) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        draw.line([place(f, level) for f, level in zip(frequency, levels)], colour, width=2)
        key = (right - 6, top + 4 + number * (_FONT_PX + 4))
        draw.text(key, name, colour, font, anchor="ra")
