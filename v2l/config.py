"""the settings of V2L ⇄ YAML; presets of it and of the other members.

A YAML file holds only what differs from the file or preset that its key `extends` names. A file without
`extends` extends the preset `small`, which also runs when no config is given. `extends: none` starts from the
defaults of the fields below, which are the paper's. An unknown key is refused with the nearest known one.

Sources: arXiv 2403.07874, section 4.1, for the paper's values; its released code for the official ones.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from v2l.errors import V2LError
from v2l.sections import check_keys, choice, described, ranged, section_from_dict


@dataclass(frozen=True)
class ModelsConfig:
    """Which frozen models; names as in v2l.zoo, encoders and llm."""

    encoder: str = described(
        "conse", "Joint image-text encoder: conse, conse:mean, openclip:MODEL/TAG or openclip:MODEL@FILE."
    )
    llm: str = described("smollm2", "Frozen LLM: smollm2, a folder, or a hub name.")


@dataclass(frozen=True)
class CodebookConfig:
    """How codebooks are built."""

    templates: tuple[str, ...] = described(
        (), "Sentences with one {} that words are put into; empty: the encoder's own."
    )
    candidates: tuple[str, ...] = described(
        ("llm",), "Where the global codebook's words come from: llm (the LLM's n-grams), lexicon, or both."
    )
    lexicon: tuple[str, ...] = described(
        ("synsets", "frequent"),
        "Sources of the lexicon: synsets (ImageNet-21k, with definitions), frequent (wordfreq), or files.",
    )
    language: str = described("en", "Language of the frequent words and of min_zipf, as wordfreq spells it.")
    frequent_words: int = ranged(60000, 1, 10**7, "How many frequent words the lexicon has.")
    min_zipf: float = ranged(
        0.0, 0, 9, "Least Zipf frequency of a candidate's rarest word; 0 keeps words that are not listed too."
    )
    definitions: str = choice(
        "none",
        ("none", "with", "mean"),
        "Embedded text of a word that has a definition: its name, its name with the definition, or both.",
    )
    renormalize: bool = described(
        True, "Whether the mean over templates gets unit length; off: as released, shorter than one."
    )
    max_order: int = ranged(3, 1, 3, "Longest n-gram: 1 subwords, 2 bigrams, 3 trigrams.")
    openings: tuple[str, ...] = described(
        ("a photo of {}",), "Beginnings that the LLM continues, each with {} at its end."
    )
    continuations: int = ranged(
        1, 1, 100, "Likeliest next tokens that lengthen an n-gram, for each opening; 1 is greedy."
    )
    words_only: bool = described(
        True,
        "Whether candidates are words and phrases: no fragments, no punctuation, no end in of or that; "
        "off: all text.",
    )
    votes: int = ranged(5, 1, 10**6, "Candidates that an image votes for, the nearest; the paper: 5.")
    min_count: int = ranged(1, 0, 10**9, "Images that must vote for a candidate; 0 keeps all.")
    keep: int = ranged(
        0, 0, 10**9, "Keep only this many, the most often seen; 0 keeps all that have min_count."
    )
    keep_share: float = ranged(
        0.0,
        0,
        1,
        "Keep only this share of the candidates, the most often seen; 0 keeps all that have min_count.",
    )

    def __post_init__(self) -> None:
        for template in self.templates:
            if not template.count("{}") == template.count("{") == template.count("}") == 1:
                raise V2LError(
                    f"got codebook.templates with {template!r}",
                    "sentences with one {} for the word",
                    "a photo of a {}",
                )
        if not self.candidates or set(self.candidates) - {"llm", "lexicon"}:
            raise V2LError(f"got codebook.candidates = {list(self.candidates)}", "llm, lexicon, or both")
        for opening in self.openings:
            if opening != "{}" and not (
                opening.endswith(" {}") and opening.count("{") == opening.count("}") == 1
            ):
                raise V2LError(
                    f"got codebook.openings with {opening!r}",
                    "words that end in a space and {}, or {} alone",
                    "a photo of {}",
                )
        if not self.openings and self.max_order > 1:
            raise V2LError(
                "got codebook.openings with none",
                "one or more, or max_order: 1 for subwords alone",
                "a photo of {}",
            )


@dataclass(frozen=True)
class ModelConfig:
    """The tokenizer's network. The defaults are the paper's."""

    tokenizer: str = choice(
        "v2l", ("v2l", "vqgan"), "What is trained: v2l, codes are words; vqgan, codes are learned."
    )
    variant: str = choice(
        "default",
        ("default", "official"),
        "official: no residual or norm around cross-attention, as released.",
    )
    image_size: int = ranged(
        128, 8, 4096, "Side in pixels of the square that becomes local tokens; a multiple of 8."
    )
    global_tokens: int = ranged(21, 1, 1000, "Global words an image; the decoder reads them all.")
    stem: int = ranged(
        1, 1, 4, "Pixels a side folded into channels at the input (1: none; 4: space-to-depth by 4)."
    )
    resampling: str = choice(
        "conv",
        ("conv", "shuffle"),
        "Between levels: taming's strided conv and nearest + conv, or pixel shuffle.",
    )
    level_channels: tuple[int, ...] = described(
        (128, 256, 256, 512), "Channels of each level, finest first; multiples of 32."
    )
    attention_levels: tuple[int, ...] = described(
        (), "Levels with self-attention after each residual block, 0 is the finest; VQGAN has it at 16 × 16."
    )
    res_blocks: int = ranged(2, 1, 8, "Residual blocks a level of the encoder; the decoder has one more.")
    z_channels: int = ranged(
        256, 4, 4096, "Channels between the CNNs and the quantizer's 1 × 1 convolutions."
    )
    lookup_dim: int = ranged(768, 2, 8192, "Width in which the nearest entry is looked up.")
    quantizer: str = choice(
        "words",
        ("words", "learned", "cosine", "averaged"),
        "Codes: the LLM's words; or, as baselines, learned by gradient (VQGAN), by gradient at unit length, "
        "or as moving averages.",
    )
    codes: int = ranged(1024, 2, 2**20, "Entries of a learned codebook (vqgan); v2l has one for each word.")
    projection: str = choice(
        "linear",
        ("linear", "bent"),
        "Of the words to the lookup's width: linear, or linear plus a small network.",
    )
    linear_path: bool = described(
        False, "Whether a linear code of each patch, fitted before training, runs beside the CNNs."
    )
    cross_attention: bool = described(True, "Whether the decoder reads the global words.")
    attention_heads: int = ranged(8, 1, 64, "Heads of the cross-attention.")
    attention_head_dim: int = ranged(512, 8, 1024, "Width of one head of the cross-attention.")
    normalize_features: bool = described(True, "Whether features have unit length before the lookup.")
    resize: str = choice(
        "antialiased",
        ("antialiased", "two-step"),
        "To the square of the local tokens: antialiased bicubic; or, as released, CLIP's square made smaller "
        "without antialias.",
    )
    word_ranking: str = choice(
        "distinct",
        ("distinct", "varied", "euclidean"),
        "Global words: by cosine, one of each family; the same with phrases that share no word; or, as "
        "released, by distance to the rows as they are stored, doubles included.",
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How the tokenizer is trained. The defaults are the paper's, where it gives any."""

    steps: int = ranged(500_000, 1, 10**9, "Optimizer steps.")
    trained: str = choice(
        "all",
        ("all", "words"),
        "Which weights are trained: all; or only the decoder's cross-attention to the global words, which "
        "leaves every local token as it is.",
    )
    batch_size: int = ranged(8, 1, 10**5, "Images a step and a process.")
    crop_size: int = ranged(128, 16, 4096, "Side in pixels of the training crops; a multiple of 8.")
    random_crop: bool = described(False, "Random crops and flips instead of the centre crop.")
    accumulate: int = ranged(
        1,
        1,
        10**5,
        "Parts that a step's images are seen in, batch_size images each; the step is that of all.",
    )
    learning_rate: float = ranged(5e-4, 0, 1, "Peak learning rate of Adam, both networks.")
    betas: tuple[float, ...] = described((0.5, 0.9), "Adam's two decay rates.")
    warmup_fraction: float = ranged(
        0.05, 0, 1, "Share of the steps with a linearly rising learning rate; then half a cosine."
    )
    l1_weight: float = ranged(1.0, 0, 1000, "Weight of mean |x - y|.")
    l2_weight: float = ranged(0.0, 0, 1000, "Weight of mean (x - y)².")
    perceptual: str = choice(
        "lpips-vgg",
        ("lpips-vgg", "lpips-alex", "lpips-squeeze", "efficientnet-lite0", "none"),
        "Perceptual network.",
    )
    perceptual_weight: float = ranged(1.0, 0, 1000, "Weight of the perceptual distance (paper: λ1).")
    commitment_weight: float = ranged(1.0, 0, 1000, "Weight of the pull of features to their entry.")
    codebook_weight: float = ranged(
        0.33, 0, 1000, "Weight of the pull of projected entries to their features."
    )
    adversarial_weight: float = ranged(
        0.1, 0, 1000, "Weight of the adversarial term, before the adaptive ratio (paper: λ2); 0 is off."
    )
    discriminator_norm: str = choice(
        "batch",
        ("batch", "group"),
        "Of the discriminator's middle layers; group does not depend on how a step's images are split.",
    )
    discriminator_start: float = ranged(
        0.1, 0, 1, "Share of the steps after which the discriminator is trained."
    )
    adversarial_start: float = ranged(
        0.15, 0, 1, "Share of the steps after which the adversarial loss counts."
    )
    adversarial_ramp: float = ranged(
        0.05, 0, 1, "Share of the steps in which the adversarial loss's weight then rises to its full value."
    )
    quantizer_start: float = ranged(
        0.0, 0, 1, "Share of the steps without the quantizer; then the projection is fitted to the features."
    )
    feature_noise: float = ranged(
        0.0, 0, 10, "Standard deviation of the noise on features while the quantizer is off."
    )
    restart_after: int = ranged(
        0, 0, 10**9, "Steps without use after which a code that is no word moves to a feature; 0: never."
    )
    ema_decay: float = ranged(
        0.0, 0, 1, "Decay of the moving average of the weights, which is what the checkpoint holds; 0 is off."
    )
    clip_norm: float = ranged(0.0, 0, 10**6, "Largest norm of the gradients; 0 is off.")
    precision: str = choice(
        "no", ("no", "bf16"), "Mixed precision of the networks; quantizer and losses stay in float32."
    )
    compile: bool = described(False, "Whether the networks are compiled by torch.compile.")
    save_every: int = ranged(1000, 1, 10**9, "Steps between checkpoints.")
    keep_checkpoints: int = ranged(2, 1, 1000, "How many of the last checkpoints are kept.")
    log_every: int = ranged(50, 1, 10**9, "Steps between lines of the log.")
    picture_every: int = ranged(
        500, 0, 10**9, "Steps between pages of originals and reconstructions; 0 is off."
    )
    workers: int = ranged(0, 0, 256, "Processes that read images; 0 reads in the training process.")

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise V2LError(
                f"got training.betas = {list(self.betas)}", "two numbers from 0 to below 1", "[0.5, 0.9]"
            )


@dataclass(frozen=True)
class Config:
    """All settings, one section for each subject."""

    models: ModelsConfig = field(default_factory=ModelsConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name, value in (
            ("model.image_size", self.model.image_size),
            ("training.crop_size", self.training.crop_size),
        ):
            if value % 8:
                raise V2LError(f"got {name} = {value}", "a multiple of 8", f"{value // 8 * 8 or 8}")
        levels = self.model.level_channels
        if not levels or any(channels < 32 or channels % 32 for channels in levels):
            allowed = "one or more multiples of 32 (GroupNorm has 32 groups)"
            raise V2LError(f"got model.level_channels = {list(levels)}", allowed, "[128, 256, 256, 512]")
        learned = self.model.quantizer != "words" and not self.model.cross_attention
        if self.model.tokenizer == "vqgan" and not learned:
            raise V2LError(
                f"got model.tokenizer = vqgan with the quantizer {self.model.quantizer!r} and "
                f"cross_attention = {self.model.cross_attention}",
                "a learned quantizer, and no cross-attention",
                "--config vqgan",
            )
        if changing := self._beside_words():
            raise V2LError(
                f"got training.trained = words with {', '.join(changing)}",
                "adversarial_weight, quantizer_start and restart_after of 0; a quantizer without averages",
                "training.trained: all",
            )

    def _beside_words(self) -> list[str]:
        """Settings under which more than the cross-attention is trained, if that alone should be."""
        values = {
            f"training.{name}": getattr(self.training, name)
            for name in ("adversarial_weight", "quantizer_start", "restart_after")
        }
        found = [f"{name} = {value}" for name, value in values.items() if value > 0]
        found += ["model.quantizer = averaged"] if self.model.quantizer == "averaged" else []
        return found if self.training.trained == "words" else []


SECTIONS = typing.get_type_hints(Config)
DEFAULT = "small"  # the preset that runs without a config, and that a file without `extends` extends
NOTHING = "none"  # `extends: none`: the fields' own defaults
PRESETS = Path(__file__).resolve().parent / "configs"  # inside an installed package
CHECKOUT_PRESETS = Path(__file__).resolve().parent.parent / "configs"  # beside v2l/ in a checkout


def preset_names() -> list[str]:
    """The presets that come with v2l."""
    return sorted(path.stem for path in _preset_folder().glob("*.yaml"))


def load_config(source: str | Path | None = None) -> Config:
    """Read settings.

    Args:
        source: a preset (`small`, `paper`, `official`), a YAML file, or None for the preset `small`.

    Raises:
        V2LError: no such file, no YAML, an unknown key, or a value of the wrong type or out of its range.

    Example:
        >>> load_config("small").model.image_size
        128
    """
    return config_from_dict(_read_yaml(source or DEFAULT))


def config_from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Plain values ──► Config, every key and value checked; a missing key takes its field's own default.

    Args:
        values: sections of keys, as `config_to_dict` gives them.
        where: what the values belong to, for errors.

    Raises:
        V2LError: an unknown key, or a value of the wrong type or out of its range.
    """
    check_keys(values, SECTIONS, where)
    sections = {
        name: section_from_dict(SECTIONS[name], {} if part is None else part, name)
        for name, part in values.items()
    }
    return Config(**sections)


def load_sections(kinds: Mapping[str, type], member: str, source: str | Path = DEFAULT) -> dict[str, Any]:
    """The settings of one member of the family that has several sections, by the names of `kinds`.

    Raises:
        V2LError: as `read_member` and `section_from_dict` do, or an unknown section.
    """
    values = read_member(member, source)
    if unknown := sorted(values.keys() - kinds.keys()):
        raise V2LError(f"got the unknown section {unknown[0]!r}", ", ".join(kinds))
    return {name: section_from_dict(kind, values.get(name) or {}, name) for name, kind in kinds.items()}


def read_member(member: str, source: str | Path = DEFAULT) -> dict[str, Any]:
    """Read the settings of one member of the family.

    Args:
        member: the folder of its presets, in configs/.
        source: a preset of that folder (`small`, `paper`), or a YAML file.

    Raises:
        V2LError: no such file, or no YAML of keys.
    """
    presets = {path.stem: path for path in (_preset_folder() / member).glob("*.yaml")}
    path = presets.get(str(source), Path(source))
    if not path.is_file():
        raise V2LError(
            f"got config {str(source)!r}, which is no preset of {member} and no file",
            f"{', '.join(sorted(presets))}, or a YAML file",
            f"--config {DEFAULT}",
        )
    return _parse(path)


def config_to_dict(config: Config) -> dict[str, Any]:
    """Config ──► plain values, all of them, as JSON and YAML hold them."""
    return {
        name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(getattr(config, name)).items()
        }
        for name in SECTIONS
    }


def _read_yaml(source: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a file over those of the file that it extends; `above` are the files that led here."""
    path = _preset_folder() / f"{source}.yaml" if str(source) in preset_names() else Path(source)
    if path in above:
        raise V2LError(f"{path} extends itself", "a file or preset that does not lead back", "extends: small")
    if not path.is_file():
        raise V2LError(
            f"got config {str(source)!r}, which is no preset and no file",
            f"{', '.join(preset_names())}, or a YAML file",
            "--config small",
        )
    values = _parse(path)
    base = values.pop("extends", None) or DEFAULT
    if base == NOTHING:
        return values
    return _merge(_read_yaml(_base(base, path), (*above, path.resolve())), values)


def _parse(path: Path) -> dict[str, Any]:
    """The keys of a YAML file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that does not exist
        raise V2LError(f"{path} is no YAML: {error}", "a YAML file", "--config small") from error
    if not isinstance(values, dict):
        raise V2LError(f"{path} holds no keys", f"sections {', '.join(SECTIONS)}", "--config small")
    return values


def _base(name: Any, path: Path) -> str | Path:
    """The preset or file that the file `path` extends; a file's name is relative to the folder of `path`."""
    return str(name) if str(name) in preset_names() else (path.parent / str(name)).resolve()


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section; a section that is only a heading changes nothing."""
    merged = dict(base)
    for name, part in over.items():
        both = isinstance(part, dict) and isinstance(base.get(name), dict)
        merged[name] = {**base[name], **part} if both else (merged.get(name) if part is None else part)
    return merged


def _preset_folder() -> Path:
    return PRESETS if PRESETS.is_dir() else CHECKOUT_PRESETS
