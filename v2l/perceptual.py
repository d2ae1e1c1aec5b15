"""two images ──► their perceptual distance by a frozen network, under the network's own name (door of lpips and timm).

LPIPS is called LPIPS only when it is LPIPS: the embedded networks are `efficientnet-lite0`, for training, and
`efficientnet-lite2`, for reports, which must not judge by the network that was trained for. Frozen: every
weight. Sources: LPIPS, arXiv 1801.03924, equation 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import timm
import torch
from torch import Tensor, nn

from v2l.encoders.conse import CROP, MEAN, STD, load_lite_weights
from v2l.errors import V2LError
from v2l.images import resize
from v2l.zoo import embedded_path

EPSILON = 1e-10  # inside the root: the gradient at equal images stays finite
SLACK = 1e-3  # of rounding, beyond [-1, 1]
TRUNKS = {
    "lpips-vgg": ("vgg", "vgg16-397923af.pth"),
    "lpips-alex": ("alex", "alexnet-owt-7be5be79.pth"),
    "lpips-squeeze": ("squeeze", "squeezenet1_1-b8a52dc0.pth"),
}
LITE = {
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}  # timm's names
REPORT_NETWORKS = (
    "lpips-alex",
    "lpips-vgg",
    "lpips-squeeze",
    "efficientnet-lite2",
)  # for reports, the field's first choice first


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
        if low < -1 - SLACK or high > 1 + SLACK:
            raise ValueError(f"images run from {low:.2f} to {high:.2f}, allowed is [-1, 1]")
        with torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():  # half of the way back is spared
                wanted = self.features(images.float())
            pairs = zip(self.features(decoded.float()), wanted, strict=True)
            return sum(
                self.weigh(level, (_unit(maps) - _unit(others)).square())
                for level, (maps, others) in enumerate(pairs)
            )

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
    """Features of an EfficientNet-Lite at five resolutions, each summed over channels and averaged over space.

    Args:
        name: a name of `LITE`.
    """

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
        return self.network(((images + 1) / 2 - self.mean) / self.std)

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        return difference.sum(dim=1).mean(dim=(1, 2)) / 5


class LiteFeatures(nn.Module):
    """Pooled features of EfficientNet-Lite2, in which sets of images are compared: (B, 3, H, W) in [0, 1] ──► (B, 1280) float32.

    Images are resized to the square that the network was trained on.
    """

    name = "efficientnet-lite2"

    def __init__(self) -> None:
        super().__init__()
        self.network = timm.create_model(LITE[self.name], pretrained=False)
        load_lite_weights(self.network, embedded_path(self.name))
        self.network.reset_classifier(0)  # what is left ends in the pooled features
        self.num_features = self.network.num_features
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        normalized = (resize(images, (CROP, CROP)) - self.mean) / self.std
        return self.network(normalized.contiguous(memory_format=torch.channels_last))


class LPIPSDistance(PerceptualDistance):
    """LPIPS v0.1 with the weights of the lpips package.

    Args:
        network: the package's LPIPS module.
        name: `lpips-vgg`, `lpips-alex` or `lpips-squeeze`.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.name, self.network = name, network
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        return list(self.network.net(self.network.scaling_layer(images)))

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        return self.network.lins[level](difference).mean(dim=(1, 2, 3))


class ReleasedRange(PerceptualDistance):
    """A distance as the official evaluations took it: images in [-1, 1] are taken for [0, 1] and stretched again, to [-3, 1].

    Its values are to be set beside the release's alone.
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


def report_network(trained_for: str) -> str:
    """The perceptual network of a report: LPIPS when its backbone is on this machine, and never the network that was trained for."""
    here = [name for name in REPORT_NETWORKS if name not in TRUNKS or backbone_path(name).is_file()]
    return next(name for name in here if name != trained_for)


def backbone_path(name: str) -> Path:
    """Where torchvision keeps the backbone that a name of `TRUNKS` needs."""
    return Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[name][1]
