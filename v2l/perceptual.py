"""two images ──► their perceptual distance by a frozen network, under the name of the network.

Only LPIPS itself is called LPIPS. The embedded networks are `efficientnet-lite0`, for training, and
`efficientnet-lite2`, for reports. A report never uses the network of the training loss, because the decoder
was optimized for it. All weights are frozen. Source: LPIPS, arXiv 1801.03924, equation 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import timm
import torch
from torch import Tensor, nn

from v2l.encoders.conse import CROP, MEAN, STD, load_lite_weights
from v2l.errors import V2LError
from v2l.images import resize
from v2l.zoo import embedded_path

EPSILON = 1e-10  # under the square root, so that the gradient at equal images stays finite
RANGE_TOLERANCE = 1e-3  # pixels may exceed [-1, 1] by this much, because of rounding
TRUNKS = {
    "lpips-vgg": ("vgg", "vgg16-397923af.pth"),
    "lpips-alex": ("alex", "alexnet-owt-7be5be79.pth"),
    "lpips-squeeze": ("squeeze", "squeezenet1_1-b8a52dc0.pth"),
}
# our name ──► timm's name
LITE = {
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}
# networks of reports, the most common one in the literature first
REPORT_NETWORKS = ("lpips-alex", "lpips-vgg", "lpips-squeeze", "efficientnet-lite2")


class PerceptualDistance(nn.Module, ABC):
    """A frozen perceptual distance.

    Attributes:
        name: the network's own name, by which reports call the distance.
    """

    name: str

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: dropout would make the distance random."""
        return super().train(False)

    def forward(self, decoded: Tensor, images: Tensor) -> Tensor:
        """(B, 3, H, W) twice ──► (B,) float32, at least 0.

        Args:
            decoded: about [-1, 1]; gradients flow into it.
            images: within [-1, 1].

        Raises:
            ValueError: `images` leave [-1, 1].
        """
        low, high = (bound.item() for bound in images.aminmax())
        if low < -1 - RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            raise ValueError(f"images run from {low:.2f} to {high:.2f}, allowed is [-1, 1]")
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():  # originals need no gradient: half of the backward pass is saved
                wanted = self.features(images.float())
            pairs = zip(self.features(decoded.float()), wanted, strict=True)
            distance = images.new_zeros(len(images), dtype=torch.float32)  # (B,)
            for level, (maps, others) in enumerate(pairs):
                distance = distance + self.weigh(level, (_unit(maps) - _unit(others)).square())
            return distance

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] ──► feature maps (B, C, h, w), finest first."""

    @abstractmethod
    def weigh(self, level: int, difference: Tensor) -> Tensor:
        """Squared differences (B, C, h, w) of one level ──► (B,)."""


def _unit(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) at unit length over channels."""
    return maps * torch.rsqrt(maps.square().sum(dim=1, keepdim=True) + EPSILON)


class LiteDistance(PerceptualDistance):
    """EfficientNet-Lite features at five resolutions: summed over channels, averaged over space.

    Args:
        name: a name of `LITE`.
    """

    mean: Tensor  # (3, 1, 1)
    std: Tensor  # (3, 1, 1)

    def __init__(self, name: str = "efficientnet-lite0") -> None:
        super().__init__()
        self.name = name
        whole = timm.create_model(LITE[name], pretrained=False)
        load_lite_weights(whole, embedded_path(name))
        self.network = timm.create_model(LITE[name], pretrained=False, features_only=True)
        self.network.load_state_dict(
            {key: tensor for key, tensor in whole.state_dict().items() if key in self.network.state_dict()}
        )
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network(((images + 1) / 2 - self.mean) / self.std)
        return maps

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        return difference.sum(dim=1).mean(dim=(1, 2)) / 5


class LiteFeatures(nn.Module):
    """Pooled features of EfficientNet-Lite2: (B, 3, H, W) in [0, 1] ──► (B, 1280) float32.

    The Fréchet distance compares sets of images by them. Images are resized to the square that the network
    was trained on.
    """

    name = "efficientnet-lite2"
    network: Any  # timm's network; its methods have no types
    classifier: Any
    mean: Tensor  # (3, 1, 1)
    std: Tensor  # (3, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.network = timm.create_model(LITE[self.name], pretrained=False)
        load_lite_weights(self.network, embedded_path(self.name))
        self.classifier = self.network.get_classifier()
        self.network.reset_classifier(0)  # the output is the pooled features
        self.num_features = self.network.num_features
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        normalized = (resize(images, (CROP, CROP)) - self.mean) / self.std
        features: Tensor = self.network(normalized.contiguous(memory_format=torch.channels_last))
        return features

    @torch.inference_mode()
    def classes(self, features: Tensor) -> Tensor:
        """The most likely ImageNet class of each image: features (B, 1280) ──► (B,) int64."""
        logits: Tensor = self.classifier(features)
        return logits.argmax(dim=-1)


class LPIPSDistance(PerceptualDistance):
    """LPIPS v0.1 with the weights of the lpips package.

    Args:
        network: the package's LPIPS module, which has no types.
        name: `lpips-vgg`, `lpips-alex` or `lpips-squeeze`.
    """

    network: Any

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.name, self.network = name, network
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        return list(self.network.net(self.network.scaling_layer(images)))

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        weighted: Tensor = self.network.lins[level](difference)  # (B, 1, h, w)
        return weighted.mean(dim=(1, 2, 3))


class ReleasedRange(PerceptualDistance):
    """A distance in the pixel range of the official evaluation: images in [-1, 1] are scaled to [-3, 1].

    The official code treats images in [-1, 1] as if they were in [0, 1], and scales them a second time.
    Compare these values with those of the official release only.
    """

    def __init__(self, distance: PerceptualDistance) -> None:
        super().__init__()
        self.name, self.distance = f"{distance.name}, range as released", distance

    def features(self, images: Tensor) -> list[Tensor]:
        return self.distance.features(images * 2 - 1)

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        return self.distance.weigh(level, difference)


def load_perceptual(name: str, device: torch.device) -> PerceptualDistance | None:
    """A perceptual distance by name; None for `none`.

    Raises:
        V2LError: the name is unknown, or its backbone file is not on this machine.
    """
    if name == "none":
        return None
    if name in LITE:
        return LiteDistance(name).to(device)
    if name not in TRUNKS:
        raise V2LError(f"got perceptual network {name!r}", ", ".join([*TRUNKS, *LITE, "none"]), "v2l doctor")
    import lpips

    trunk, file = TRUNKS[name]
    path = backbone_path(name)
    if not path.is_file():
        raise V2LError(
            f"the backbone of {name} is not on this machine",
            f"torchvision's {file} as {path}",
            "training.perceptual: efficientnet-lite0",
        )
    return LPIPSDistance(lpips.LPIPS(net=trunk, verbose=False), name).to(device)


def report_network(*trained_for: str) -> str:
    """The perceptual network of a report: LPIPS when its backbone is on this machine.

    It is none of the networks `trained_for` of training losses.
    """
    here = [name for name in REPORT_NETWORKS if name not in TRUNKS or backbone_path(name).is_file()]
    return next(name for name in here if name not in trained_for)


def backbone_path(name: str) -> Path:
    """Where torchvision keeps the backbone that a name of `TRUNKS` needs."""
    return Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[name][1]
