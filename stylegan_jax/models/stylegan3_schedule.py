"""The layers of a StyleGAN3 generator as numbers: sizes, rates, cutoffs, filters, channels.

A layer's feature maps stand for a signal that is limited to `cutoff` and sampled at a `rate`, both
per unit of length: the side of a square image of `img_resolution` pixels. Cutoffs rise
geometrically from layer to layer; rates follow in powers of two; a margin around the image lets
what lies outside come in.
"""

from typing import NamedTuple

import numpy as np

from stylegan_jax.models.layers import block_sizes
from stylegan_jax.sizes import SQUARE_BASE, Size, name_size


class Band(NamedTuple):
    """What a layer's output can hold.

    Attributes:
        cutoff: Highest frequency that passes, in cycles per unit.
        half_width: Half of the transition from what passes to what is stopped.
        rate: Samples per unit.
        size: Height and width of the feature maps, margins included.
        channels: Feature maps.
    """

    cutoff: float
    half_width: float
    rate: int
    size: Size
    channels: int


class LayerPlan(NamedTuple):
    """One layer: from a band to the next.

    Attributes:
        name: `L<number>_<size>_<channels>`, as the official networks call it.
        source: What it reads.
        target: What it gives.
        tmp_rate: Rate at which its nonlinearity works.
        up: Integer zoom from the source's rate to `tmp_rate`.
        down: Integer decimation from there to the target's.
        up_taps: Length of the filter after the zoom; 1: none.
        down_taps: Length of the filter before the decimation; 1: none.
        is_radial: Whether the second filter is a function of the distance alone.
        kernel_size: Side of its convolution's kernel.
        padding: Zeros at `tmp_rate` `[x0, x1, y0, y1]`; negative: pixels that are cut off.
        is_critical: Whether its target is sampled at the least rate that its cutoff allows.
        is_torgb: Whether it gives the image.
        is_bf16: Whether it computes in bfloat16.
    """

    name: str
    source: Band
    target: Band
    tmp_rate: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    is_radial: bool
    kernel_size: int
    padding: tuple[int, int, int, int]
    is_critical: bool
    is_torgb: bool
    is_bf16: bool


def plan_layers(
    img_resolution: int,
    img_channels: int,
    *,
    base_grid: Size = SQUARE_BASE,
    channel_base: int = 32768,
    channel_max: int = 512,
    num_layers: int = 14,
    num_critical: int = 2,
    first_cutoff: float = 2.0,
    first_stopband: float = 2.0**2.1,
    last_stopband_rel: float = 2.0**0.3,
    margin_size: int = 10,
    conv_kernel: int = 3,
    filter_size: int = 6,
    lrelu_upsampling: int = 2,
    use_radial_filters: bool = False,
    num_bf16_res: int = 0,
) -> tuple[LayerPlan, ...]:
    """Plans the layers, ToRGB last; arguments as in `stylegan3.Generator`.

    The source of the first is what the input gives. Images of another base grid than 4 x 4 have
    its sides in quarters of a unit, so that a pixel is as long along both axes as in a square.

    Raises:
        ValueError: No schedule of such numbers; says which number does not fit.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2, figure 4c and appendix C.
    Checked: tests/parity, cases `sg3_schedule_*` and `sg3_G_*`.
    """
    bands = _plan_bands(
        img_resolution,
        img_channels,
        base_grid=base_grid,
        channel_base=channel_base,
        channel_max=channel_max,
        num_layers=num_layers,
        num_critical=num_critical,
        first_cutoff=first_cutoff,
        first_stopband=first_stopband,
        last_stopband_rel=last_stopband_rel,
        margin_size=margin_size,
    )
    layers = []
    for i, target in enumerate(bands):
        is_torgb = i == num_layers
        is_critical = i >= num_layers - num_critical
        source = bands[max(i - 1, 0)]
        # The nonlinearity makes high frequencies, which need room until they are filtered out.
        tmp_rate = max(source.rate, target.rate) * (1 if is_torgb else lrelu_upsampling)
        up, down = tmp_rate // source.rate, tmp_rate // target.rate
        up_taps = filter_size * up if up > 1 and not is_torgb else 1
        down_taps = filter_size * down if down > 1 and not is_torgb else 1
        kernel_size = 1 if is_torgb else conv_kernel
        # Rows, then columns, each before and after.
        y, x = (
            _pad(
                source.size[axis] + kernel_size - 1,
                target.size[axis],
                up,
                down,
                up_taps + down_taps,
            )
            for axis in (0, 1)
        )
        layers.append(
            LayerPlan(
                name=f"L{i}_{name_size(target.size)}_{target.channels}",
                source=source,
                target=target,
                tmp_rate=tmp_rate,
                up=up,
                down=down,
                up_taps=up_taps,
                down_taps=down_taps,
                is_radial=use_radial_filters and not is_critical,
                kernel_size=kernel_size,
                padding=(*x, *y),
                is_critical=is_critical,
                is_torgb=is_torgb,
                is_bf16=target.rate * 2**num_bf16_res > img_resolution,
            )
        )
    return tuple(layers)


def _plan_bands(
    img_resolution: int,
    img_channels: int,
    *,
    base_grid: Size,
    channel_base: int,
    channel_max: int,
    num_layers: int,
    num_critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband_rel: float,
    margin_size: int,
) -> list[Band]:
    """What each layer gives, in float64: roundings of channels and rates are at stake."""
    img_size = block_sizes(img_resolution, base_grid)[img_resolution]
    if not 0 <= num_critical < num_layers:
        raise ValueError(
            f"num_layers={num_layers}, num_critical={num_critical}: some layers must not be "
            "critically sampled; give more layers than critical ones."
        )
    if not (first_cutoff > 0 and first_stopband >= 0.5 and last_stopband_rel > 0):
        raise ValueError(
            f"first_cutoff={first_cutoff:g}, first_stopband={first_stopband:g}, "
            f"last_stopband_rel={last_stopband_rel:g}: give a cutoff above 0, a stop band of at "
            "least 0.5 cycles per image and a ratio above 0."
        )
    # The last layers hold all that the pixels can (cutoff R / 2).
    last_cutoff = img_resolution / 2
    last_stopband = last_cutoff * last_stopband_rel

    # f_c[i] = f_c0 (f_cN / f_c0)^e, likewise the stop band;  e = min(i / (N - critical), 1)
    exponents = np.minimum(np.arange(num_layers + 1) / (num_layers - num_critical), 1)
    cutoffs = first_cutoff * (last_cutoff / first_cutoff) ** exponents
    stopbands = first_stopband * (last_stopband / first_stopband) ** exponents
    # The least power of two that samples the stop band, as far as the image has pixels.
    log2_rates = np.ceil(np.log2(np.minimum(stopbands * 2, img_resolution)))

    bands = []
    for i in range(num_layers + 1):
        cutoff, stopband = float(cutoffs[i]), float(stopbands[i])
        rate = int(2 ** log2_rates[i])
        half_width = max(stopband, rate / 2) - cutoff
        channels = round(min(channel_base / 2 / cutoff, channel_max))  # half to even
        # Margins, which the last two layers cut off.
        is_last = i >= num_layers - 1
        size = img_size if is_last else _canvas(rate, base_grid, margin_size)
        if half_width <= 0:
            raise ValueError(
                f"Layer {i} of {img_resolution} px: cutoff {cutoff:g} is not below its stop band "
                f"{max(stopband, rate / 2):g}: give a smaller first_cutoff, or a larger "
                "first_stopband or last_stopband_rel."
            )
        if channels < 1:
            raise ValueError(
                f"channel_base={channel_base}, channel_max={channel_max}: layer {i} of "
                f"{img_resolution} px has no feature map left; give a larger base."
            )
        bands.append(Band(cutoff, half_width, rate, size, channels))
    bands[-1] = bands[-1]._replace(channels=img_channels)
    return bands


def _canvas(rate: int, base_grid: Size, margin_size: int) -> Size:
    """Feature maps of a rate: the image's extent, and a margin on every side."""
    if rate % 4 and base_grid != SQUARE_BASE:
        raise ValueError(
            f"A rate of {rate} samples per unit has no whole quarters for base_grid={base_grid}: "
            "give a first_stopband of at least 1."
        )
    height, width = (rate * side // 4 + 2 * margin_size for side in base_grid)
    return height, width


def _pad(source: int, target: int, up: int, down: int, taps: int) -> tuple[int, int]:
    """Zeros before and after, at the zoomed rate, which make `target` samples of `source`."""
    # What both filters use up, less what is there.
    total = (target - 1) * down + 1 - source * up + taps - 2
    # Samples stand for the middle of their cell: up-sampling moves them by (up - 1) / 2.
    before = (total + up) // 2
    return before, total - before
