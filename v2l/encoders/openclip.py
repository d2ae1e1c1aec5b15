"""images, image patches and texts ──► unit vectors of any open_clip model.

Preprocessing and activation come from the model itself: QuickGELU and GELU variants of one architecture are
different encoders and have different fingerprints. Frozen: every weight. Source: OpenCLIP, arXiv 2212.07143;
CLIP, arXiv 2103.00020.
"""

from __future__ import annotations

import logging
import random
import string
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from v2l.encoders.base import (
    JointEncoder,
    encode_distinct,
    fingerprint_of,
    no_patches,
    resize_shorter_side,
    resize_whole,
)
from v2l.encoders.causal import CausalTower, Row
from v2l.errors import V2LError
from v2l.zoo import is_offline

logger = logging.getLogger(__name__)

TOKENIZED = 4096  # texts tokenized at once, because open_clip pads each to its full context
CHECKED = 64  # random prompts on which the prefix cache must equal padded texts
TOLERANCE = {
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}  # longest distance of their unit vectors
IMAGENET_TEMPLATES = tuple(
    template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES
)  # the 80, as strings


class OpenCLIP(JointEncoder):
    """A model of open_clip behind the contract of `JointEncoder`.

    Args:
        model: what `open_clip.create_model` gives.
        tokenizer: its tokenizer, texts ──► (N, context) int64.
        name: the name that loads it again.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, tokenizer: open_clip.tokenizer.SimpleTokenizer, name: str) -> None:
        super().__init__()
        self.name, self.templates = name, IMAGENET_TEMPLATES
        self.model, self.tokenizer = model, tokenizer
        self.preprocess = open_clip.get_model_preprocess_cfg(model)
        size = self.preprocess["size"]
        self.image_size = size if isinstance(size, int) else size[0]
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(self.preprocess["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocess["std"]).view(3, 1, 1), persistent=False)
        self.dim = self.encode_texts(["a"]).shape[-1]
        activations = sorted(
            {type(part).__name__ for part in model.modules() if "GELU" in type(part).__name__}
        )
        self.fingerprint = fingerprint_of(
            self.state_dict(), str(sorted(self.preprocess.items())), *activations
        )

    def prepare(self, image: Tensor) -> Tensor:
        interpolation = InterpolationMode(self.preprocess.get("interpolation", "bicubic"))
        if self.preprocess.get("resize_mode", "shortest") == "squash":
            squashed: Tensor = transforms.resize(
                image, [self.image_size] * 2, interpolation=interpolation, antialias=True
            )
            return squashed.clamp(0, 1)
        resized = resize_shorter_side(image, self.image_size, interpolation)
        cropped: Tensor = transforms.center_crop(resized, [self.image_size, self.image_size])
        return cropped

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        vectors: Tensor = self.model.encode_image(
            self._normalize(self.prepare_batch(images)), normalize=True
        )  # (B, D)
        return vectors.float()

    @torch.inference_mode()
    def patch_features(self, images: Tensor, side: int | None = None) -> Tensor:
        visual, _ = self._patch_half()
        seen = (
            self.prepare_batch(images) if side is None else resize_whole(images, side, visual.patch_size[0])
        )
        height, width = seen.shape[-2:]
        with positions_for(visual, (height, width)):
            features: Tensor = visual.forward_intermediates(
                self._normalize(seen.to(self.device)),
                indices=1,
                normalize_intermediates=True,
                intermediates_only=True,
                output_fmt="NCHW",
            )["image_intermediates"][-1]  # (B, C, h, w), after the last norm
        return features.permute(0, 2, 3, 1).float()

    def to_joint_space(self, features: Tensor) -> Tensor:
        _, projection = self._patch_half()
        return functional.normalize(features.to(projection) @ projection, dim=-1).float()

    def _patch_half(self) -> tuple[Any, Tensor]:
        """The image half and the projection of its patches.

        Raises:
            V2LError: it has no projection of patches.
        """
        projection = getattr(self.model.visual, "proj", None)
        if projection is None:
            raise no_patches(self.name)
        return self.model.visual, projection

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        batches = [
            self.tokenizer(list(texts[start : start + batch_size]))
            for start in range(0, len(texts), batch_size)
        ]
        return torch.cat(
            [self.model.encode_text(batch.to(self.device), normalize=True).float() for batch in batches]
        )

    def tokenize_texts(self, texts: Sequence[str]) -> list[Row]:
        readings: list[Row] = []
        for start in range(0, len(texts), TOKENIZED):
            rows = self.tokenizer(list(texts[start : start + TOKENIZED]))
            # CLIP's padding is also its token "!" inside a text: only padding at the end is removed.
            padding = (rows != self._padding_id).flip(1).int().argmax(dim=1)
            readings += [
                tuple(row[: len(row) - count])
                for row, count in zip(rows.tolist(), padding.tolist(), strict=True)
            ]
        return readings

    @property
    def _padding_id(self) -> int:
        """The id behind the end of a text: 0 for CLIP's tokenizer, its own for one of Hugging Face."""
        own = getattr(getattr(self.tokenizer, "tokenizer", None), "pad_token_id", None)
        return 0 if own is None else int(own)

    def in_template(self, template: str) -> Callable[[Sequence[str]], Tensor]:
        return (
            super().in_template(template)
            if self.causal_tower is None
            else self._after_beginning(self.causal_tower, template)
        )

    @cached_property
    def causal_tower(self) -> CausalTower | None:
        """The text half as a causal tower with a prefix cache; None when padded texts must be run.

        The tower is compared with the padded forward pass on random prompts before it is used: unit vectors
        must agree to `TOLERANCE`.
        """
        tower = causal_tower(self.model)
        if tower is None:
            return None
        words, template = random_words(CHECKED), IMAGENET_TEMPLATES[0]
        whole = self.encode_texts([template.format(word) for word in words])
        worst = float((self._after_beginning(tower, template)(words) - whole).norm(dim=-1).max())
        allowed = TOLERANCE[next(self.model.parameters()).dtype]
        if worst <= allowed:
            return tower
        logger.warning(
            "%s: cut texts are %.0e from whole ones (allowed: %.0e), so texts are run whole",
            self.name,
            worst,
            allowed,
        )
        return None

    def _after_beginning(self, tower: CausalTower, template: str) -> Callable[[Sequence[str]], Tensor]:
        """As `in_template`; the sentence's beginning is run here, once."""
        beginning = tower.begin(tower.cut(self.tokenizer([template.partition("{}")[0]]))[0][:-1])

        def encode(words: Sequence[str]) -> Tensor:
            rows = tower.cut(self.tokenizer([template.format(word) for word in words]))
            return encode_distinct(
                rows, lambda places: tower.encode([rows[place] for place in places], beginning)
            )

        return encode

    def image_weights(self) -> dict[str, Tensor]:
        return dict(self.model.visual.state_dict())

    def _normalize(self, images: Tensor) -> Tensor:
        dtype = next(self.model.parameters()).dtype
        return ((images - self.mean) / self.std).to(dtype)


@contextmanager
def positions_for(visual: Any, size: tuple[int, int]) -> Iterator[None]:
    """Inside this block a ViT takes images of another size, (H, W): its positions are interpolated.

    Source: ViT, arXiv 2010.11929, section 3.2.
    """
    height, width = (edge // patch for edge, patch in zip(size, visual.patch_size, strict=True))
    if (height, width) == tuple(visual.grid_size):
        yield
        return
    trained = visual.positional_embedding.data  # (1 + h · w, C): the class token's position first
    grid = trained[1:].T.reshape(1, -1, *visual.grid_size).float()
    resized = functional.interpolate(grid, size=(height, width), mode="bicubic", antialias=True)
    visual.positional_embedding.data = torch.cat([trained[:1], resized.flatten(2)[0].T.to(trained)])
    try:
        yield
    finally:
        visual.positional_embedding.data = trained


def causal_tower(model: Any) -> CausalTower | None:
    """The text encoder of a model if its texts can be cut at their end; otherwise None.

    CLIP's can. SigLIP's cannot, because each token attends to all others. CoCa's cannot, because it
    appends a token of its own.
    """
    text = getattr(model, "text", model)  # some models keep the text half apart
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    blocks = getattr(getattr(text, "transformer", None), "resblocks", ())
    plain = len(blocks) > 0 and all(type(block) is ResidualAttentionBlock for block in blocks)
    sees_all = getattr(text, "attn_mask", None) is None or getattr(text, "cls_emb", None) is not None
    if not plain or sees_all or pool not in ("argmax", "eos"):
        return None
    return CausalTower(
        text, None if pool == "argmax" else getattr(text, "text_eos_id", getattr(text, "eos_id", None))
    )


def random_words(count: int) -> list[str]:
    """Always the same random phrases, from one word to far too many."""
    chance = random.Random(0)
    lengths = [*(chance.choice((1, 1, 2, 3, 8)) for _ in range(count - 1)), 99]
    return [
        " ".join(
            "".join(chance.choices(string.ascii_letters + ".,!'-", k=chance.randint(1, 9))) for _ in range(n)
        )
        for n in lengths
    ]


def load_openclip(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> OpenCLIP:
    """A model of open_clip by its name.

    Args:
        name: after `openclip:`, one of `MODEL/TAG` (ViT-L-14/openai), `MODEL@FILE` (a local weights file),
            `local-dir:FOLDER` or `hf-hub:NAME`.
        device: where it runs.
        dtype: of its weights; vectors come out in float32.

    Raises:
        V2LError: no such model or tag, or its weights are not on this machine and cannot be fetched.
    """
    spec = name.removeprefix("openclip:")
    model_name, weights, quick_gelu = spec, None, False
    from_folder = spec.startswith(("local-dir:", "hf-hub:"))
    if "@" in spec and not from_folder:
        model_name, weights = spec.split("@", 1)
        if not Path(weights).is_file():
            raise V2LError(
                f"got the weights file {weights!r}, which does not exist",
                "a local file of open_clip weights",
                f"openclip:{model_name}@FILE",
            )
    elif not from_folder:
        model_name, _, weights = spec.partition("/")
        quick_gelu = _quick_gelu_of_tag(model_name, weights)
    try:
        with quiet_openclip():
            model = open_clip.create_model(
                model_name,
                pretrained=weights,
                precision="fp32",
                device=device,
                force_quick_gelu=quick_gelu,
                require_pretrained=True,
            )
            tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # open_clip raises RuntimeError, OSError, ValueError and the hub's own kinds
        network = "v2l is offline" if is_offline() else "the network did not give it"
        raise V2LError(
            f"the encoder {name!r} cannot be loaded ({type(error).__name__}: {str(error)[:160]}; {network})",
            "openclip:MODEL/TAG with cached weights, openclip:MODEL@FILE, or conse",
            "v2l doctor",
        ) from error
    return OpenCLIP(model.to(dtype), tokenizer, name).to(device)


@contextmanager
def quiet_openclip() -> Iterator[None]:
    """Silence open_clip in this block.

    There are no log lines, because the exception says what failed. There is no warning of the mismatch
    that `force_quick_gelu` corrects.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.disable(level)


def _quick_gelu_of_tag(model_name: str, tag: str) -> bool:
    """Whether the weights of this tag were trained with QuickGELU.

    Without this information, open_clip builds the default of the architecture.
    """
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if tag not in tags:
        known = f"one of {', '.join(tags)}" if tags else f"one of {', '.join(open_clip.list_models()[:8])}, …"
        raise V2LError(
            f"got open_clip model {model_name!r} with tag {tag!r}",
            known,
            "openclip:ViT-L-14/openai, or openclip:MODEL@FILE",
        )
    return bool(open_clip.get_pretrained_cfg(model_name, tag).get("quick_gelu", False))
