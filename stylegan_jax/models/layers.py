"""Layers with equalised learning rate, sizes of their feature maps, and the mapping network."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.ops.bias_act import bias_act, find_activation
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import Grouping, minibatch_stddev, normalize_2nd_moment
from stylegan_jax.ops.packing import UNPACKED, Packing
from stylegan_jax.sizes import SQUARE_BASE, Size, divided, size_at


def block_sizes(img_resolution: int, base_grid: Size = SQUARE_BASE) -> dict[int, Size]:
    """Returns the sizes of a network's blocks, `{4: base_grid, 8: ..., img_resolution: ...}`.

    Raises:
        ValueError: `img_resolution` is not a power of two of at least 4, or the shorter side of
            `base_grid` not one of 4 to 7.
    """
    log2 = int(np.log2(max(img_resolution, 1)))
    if img_resolution < 4 or 2**log2 != img_resolution:
        raise ValueError(f"img_resolution={img_resolution}: give a power of two, 4 or more.")
    if not 4 <= min(base_grid) <= 7:
        raise ValueError(f"base_grid={base_grid}: give a shorter side of 4 to 7.")
    return {2**r: size_at(2**r, base_grid) for r in range(2, log2 + 1)}


def channels_at(resolution: int, *, channel_base: int, channel_max: int) -> int:
    """Returns the channels of feature maps: `min(channel_base // resolution, channel_max)`."""
    return min(channel_base // resolution, channel_max)


def compute_dtype(resolution: int, img_resolution: int, num_bf16_res: int) -> jnp.dtype:
    """Returns bfloat16 for the `num_bf16_res` highest resolutions from 8x8 up, else float32."""
    # Counted from the largest resolution down; below 8x8 nothing is gained.
    lowest = max(img_resolution // 2 ** (num_bf16_res - 1), 8) if num_bf16_res > 0 else None
    use_bf16 = lowest is not None and resolution >= lowest
    return jnp.dtype(jnp.bfloat16 if use_bf16 else jnp.float32)


def image_packing(
    formulation: Formulation, size: Size, img_channels: int, channels: int
) -> Packing:
    """Returns how an image is packed beside feature maps of so many channels."""
    packing = formulation.packing(size, channels)
    return formulation.image_packing(size, img_channels, packing)


def normalized(taps: tuple[float, ...]) -> tuple[float, ...]:
    """Scales FIR taps to sum 1, as static floats."""
    total = float(np.sum(taps))
    return tuple(float(t) / total for t in taps)


def activate(
    x: Float[Array, "n h w c"],
    bias: Float[Array, " b"] | None,
    *,
    act: str,
    act_gain: float | None = None,
    gain: float = 1.0,
    clamp: float | None = None,
) -> Float[Array, "n h w c"]:
    """Applies `bias_act` with `gain` on top of the activation's own, and on the clamp as well."""
    if bias is not None and bias.shape[0] < x.shape[3]:
        # Packed feature maps hold a channel once for each pixel: [b] -> [py * px * b].
        bias = jnp.tile(bias, x.shape[3] // bias.shape[0])
    # The clamp bounds what the layer gives before `gain`, so it is scaled with it.
    total_gain = (find_activation(act).default_gain if act_gain is None else act_gain) * gain
    return bias_act(
        x, bias, act=act, gain=total_gain, clamp=None if clamp is None else clamp * gain
    )


class Dense(nnx.Module):
    """Fully connected layer, `[..., in] -> [..., out]`, whose weight is scaled at run time.

    Source: Karras et al. 2018 (ProGAN), section 4.1 (equalised learning rate).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        act: str = "linear",
        weight_gain: float = 1.0,
        act_gain: float | None = None,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the layer.

        Args:
            in_features: Length of the input vectors.
            out_features: Length of the output vectors.
            bias: Add a learned bias.
            act: Activation.
            weight_gain: Factor on the weight at run time.
            act_gain: Factor on the output; default: that of the activation. ProGAN and StyleGAN
                have sqrt(2) on the weight and 1 here, StyleGAN2 the reverse.
            lr_multiplier: The parameters learn this much slower than the layer's function.
            bias_init: First value of the bias, as the layer applies it.
            rngs: Source of the first weights, N(0, 1 / lr_multiplier^2).
        """
        # Stored in units of the multiplier: w = w_stored * lr_multiplier ~ N(0, 1) at first.
        shape = (in_features, out_features)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape) / lr_multiplier)
        if bias:
            # In the same units, so that the layer adds `bias_init` at first.
            self.bias = nnx.Param(jnp.full((out_features,), bias_init / lr_multiplier))
        self.has_bias = bias
        self.act = act
        self.act_gain = act_gain
        self.lr_multiplier = lr_multiplier
        # Equalised learning rate: w_hat = w * gain / sqrt(fan_in). The stored weights all have the
        # same scale, and Adam, whose steps do not know it, moves every layer equally fast.
        self.weight_gain = weight_gain * lr_multiplier / float(np.sqrt(in_features))

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """Applies the layer in x.dtype."""
        bias = self.bias[...] * self.lr_multiplier if self.has_bias else None
        # w_hat x + b, with the scale on x: a few vectors are scaled sooner than a matrix.
        x = (x * self.weight_gain) @ self.weight[...].astype(x.dtype)
        return bias_act(x, bias, act=self.act, gain=self.act_gain)


class Conv2d(nnx.Module):
    """Convolution with FIR up- or down-sampling, bias, activation and clamp.

    Maps `[n, h, w, in]` to `[n, h * up / down, w * up / down, out]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        bias: bool = True,
        act: str = "linear",
        weight_gain: float = 1.0,
        act_gain: float | None = None,
        up: int = 1,
        down: int = 1,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        size: Size | None = None,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the layer.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            kernel_size: Side of the square kernel, odd.
            bias: Add a learned bias.
            act: Activation.
            weight_gain: See `Dense`.
            act_gain: See `Dense`.
            up: Integer zoom.
            down: Integer decimation.
            resample_filter: 1-D FIR taps, any sum; used along both axes.
            conv_clamp: Clamp of the output before `gain`; None: unbounded.
            size: Height and width of the input after `up`, from which `formulation` knows how
                input and output are packed (`ops/packing.py`); None: they are not.
            formulation: See `conv2d_resample`.
            rngs: Source of the first weights, N(0, 1).
        """
        formulation = formulation or platform_formulation()
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        if bias:
            self.bias = nnx.Param(jnp.zeros((out_channels,)))
        self.has_bias = bias
        self.act = act
        self.act_gain = act_gain
        self.up = up
        self.down = down
        # Zeros around the image, so that an odd kernel keeps its size.
        self.padding = kernel_size // 2
        # Taps of sum 1 keep an image's mean, at any zoom.
        self.taps = normalized(resample_filter)
        self.conv_clamp = conv_clamp
        # How a platform holds what comes in and goes out: the same numbers in another order.
        self.formulation = formulation
        self.packing = (UNPACKED, UNPACKED)
        if size is not None:
            self.packing = (
                formulation.packing(divided(size, up), in_channels),
                formulation.packing(divided(size, down), out_channels),
            )
        # Equalised learning rate, as in `Dense`: fan_in = kernel_size^2 * in_channels.
        self.weight_gain = weight_gain / float(np.sqrt(in_channels * kernel_size**2))

    def __call__(self, x: Float[Array, "n h w i"], gain: float = 1.0) -> Float[Array, "n p q o"]:
        """Applies the layer in x.dtype; `gain` also multiplies the clamp."""
        # down(w_hat * up(x)), then gain * act(. + b)
        x = conv2d_resample(
            x,
            self.weight[...] * self.weight_gain,
            self.taps,
            up=self.up,
            down=self.down,
            padding=self.padding,
            packing=self.packing,
            formulation=self.formulation,
        )
        bias = self.bias[...] if self.has_bias else None
        return activate(
            x, bias, act=self.act, act_gain=self.act_gain, gain=gain, clamp=self.conv_clamp
        )


class MinibatchStddev(nnx.Module):
    """Shows D how much a group of images differs, `[n, h, w, c] -> [n, h, w, c + num_channels]`.

    A generator that draws the same image again and again is found out by it. Has no parameters.

    Source: Karras et al. 2018 (ProGAN), section 3.
    """

    def __init__(
        self,
        *,
        group_size: int | None,
        num_channels: int,
        grouping: Grouping,
    ):
        """Builds the layer; arguments as in `minibatch_stddev`, 0 channels: nothing is added."""
        self.group_size = group_size
        self.num_channels = num_channels
        self.grouping: Grouping = grouping

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w cf"]:
        """Appends the statistics as feature maps."""
        if self.num_channels == 0:
            return x
        return minibatch_stddev(
            x,
            group_size=self.group_size,
            num_channels=self.num_channels,
            grouping=self.grouping,
        )


class Mapping(nnx.Module):
    """Mapping network, `(z [..., z_dim], c [..., c_dim]) -> w [..., w_dim]`, always in float32.

    The label is embedded, normalised and appended to the normalised latent.

    Source: Karras et al. 2019 (StyleGAN), figure 1b; labels as in StyleGAN2-ADA.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        *,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        act: str = "lrelu",
        lr_multiplier: float = 0.01,
        rngs: nnx.Rngs,
    ):
        """Builds the network.

        Args:
            z_dim: Length of the latent; 0: the label alone is mapped.
            c_dim: Length of the label vector; 0: unconditional.
            w_dim: Length of the output.
            num_layers: Fully connected layers.
            embed_features: Length of the label's embedding; default w_dim.
            layer_features: Width of the hidden layers; default w_dim.
            act: Activation of every layer.
            lr_multiplier: See `Dense`; 0.01 makes the mapping learn slower than the synthesis.
            rngs: Source of the first weights.

        Raises:
            ValueError: Both z_dim and c_dim are 0.
        """
        if z_dim == 0 and c_dim == 0:
            raise ValueError("A mapping network needs a latent or a label: z_dim = c_dim = 0.")
        embed_features = w_dim if embed_features is None else embed_features
        layer_features = w_dim if layer_features is None else layer_features

        # The label's embedding keeps the learning rate of other layers.
        if c_dim > 0:
            self.embed = Dense(c_dim, embed_features, rngs=rngs)

        # Latent and embedding side by side -> hidden layers -> w. The mapping learns 100 times
        # slower than the rest: at full speed so deep a network is unstable (StyleGAN, appendix C).
        width = z_dim + (embed_features if c_dim > 0 else 0)
        for i in range(num_layers):
            out = w_dim if i == num_layers - 1 else layer_features
            layer = Dense(width, out, act=act, lr_multiplier=lr_multiplier, rngs=rngs)
            setattr(self, f"fc{i}", layer)
            width = out
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.num_layers = num_layers

    def __call__(
        self, z: Float[Array, "*n z"] | None, c: Float[Array, "*n c"] | None
    ) -> Float[Array, "*n w"]:
        """Maps latents and labels; the one whose dimension is 0 is not looked at."""
        # Each is normalised by itself, so that neither drowns the other.
        parts = []
        if self.z_dim > 0:
            assert z is not None
            parts.append(normalize_2nd_moment(z.astype(jnp.float32)))
        if self.c_dim > 0:
            assert c is not None
            parts.append(normalize_2nd_moment(self.embed(c.astype(jnp.float32))))

        x = jnp.concatenate(parts, axis=-1)  # [..., z_dim + embed_features]
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x
