"""hyperparameters by name ──► RestorationSettings: how the LLM is prompted, and how a token is chosen.

A preset is a set of values with a name. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, for the
context, the window and the number of examples; the other hyperparameters are ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, TypeVar

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.wording import check_wording

ORDERS = ("raster", "centre-out")
SCOPES = ("windows", "map")
# `fast` and `strong` suit the paper's protocol, `blind` and `adapter` the blind one; all four suit the tuned
# prompt.
PRESETS: dict[str, dict[str, Any]] = {
    "plain": {"num_candidates": 0},
    "blind": {
        "n_context": 4,
        "n_before": 0,
        "n_predict": 1,
        "n_examples": 8,
        "num_candidates": 4,
        "prior_weight": 3.0,
    },
    "adapter": {"scope": "map", "n_predict": 1, "num_candidates": 16, "prior_weight": 16.0},
    "fast": {"n_context": 4, "n_before": 0, "n_examples": 6},
    "strong": {"n_context": 4, "n_before": 0, "contrast": 0.4, "n_examples": 6, "draws": 5},
}
MINIMA = {
    "n_predict": 1,
    "n_context": 0,
    "n_before": 0,
    "n_above": 0,
    "n_examples": 0,
    "splits": 1,
    "draws": 1,
    "contrast": 0,
    "num_candidates": 0,
    "prior_weight": 0,
    "temperature": 0,
    "top_k": 0,
    "num_samples": 1,
    "batch_tokens": 1,
}
# Names of version 0.1 ──► the names since then. The old ones are accepted for one version.
RENAMED = {
    "palette": "num_candidates",
    "trust": "prior_weight",
    "candidates": "num_samples",
    "above": "n_above",
    "reading": "scope",
}
Settings = TypeVar("Settings")


def current_names(values: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Replace the setting names of version 0.1 by the current ones.

    Args:
        values: name ──► value. An old name wins over its new one, because `dataclasses.replace` adds every
            new name.
        note: gets one line for each old name.
    """
    current = {name: value for name, value in values.items() if name not in RENAMED}
    for name in [name for name in values if name in RENAMED]:
        note(f"the setting {name} is called {RENAMED[name]} now; {name} will be refused in the next version")
        current[RENAMED[name]] = values[name]
    return current


def accept_old_names(settings_class: type[Settings]) -> type[Settings]:
    """Let a settings class be built with the names of version 0.1 too; each of them gives a FutureWarning."""
    build = settings_class.__init__

    @wraps(build)
    def build_with_old_names(self: Settings, *values: Any, **named: Any) -> None:
        build(self, *values, **current_names(named, lambda line: warnings.warn(line, FutureWarning, 4)))

    setattr(settings_class, "__init__", build_with_old_names)  # noqa: B010  # mypy forbids the assignment
    return settings_class


@accept_old_names
@dataclass(frozen=True)
class RestorationSettings:
    """How the LLM is prompted, and how a token is chosen.

    Attributes:
        scope: what one prompt covers. `windows`: a few tokens, after examples. `map`: the whole token grid in
            one pass, which only an LLM with an adapter can read (`v2l.tasks.restoration.whole_map`); a map
            uses `num_candidates`, `prior_weight` and the settings of sampling, and no other.
        n_predict: tokens in a window, predicted from one prompt.
        order: of windows that depend on each other: `raster`, or `centre-out`.
        n_context: visible or predicted tokens that a prompt shows, those before the window in raster order.
        n_before: the same for a corrupted window, in addition to the window's own corrupted tokens.
        n_above: tokens of the row above the window that a prompt shows.
        n_examples: examples before the query.
        splits: number of prompts that share one draw of examples; their log-probabilities are averaged.
        draws: number of draws of examples; the log-probabilities after all draws are averaged.
        contrast: weight of the log-probability without examples, which is subtracted; 0 subtracts nothing.
        num_candidates: candidate tokens of one cell, the nearest to its expected code vector
            (`v2l.tasks.restoration.token_prior`). 0 allows the whole local codebook. By the paper's protocol
            any number above 0 allows the tokens of the examples.
        prior_weight: weight of the prior, a log-density of the code vectors around the expected one, which is
            added to the LLM's log-probabilities. It needs candidates; the paper's protocol has no prior.
        temperature: 0 takes the most probable token; above 0, tokens are sampled.
        top_k: tokens are sampled among the `top_k` most probable; 0 means all.
        num_samples: whole answers that are sampled; the most probable one is kept. Only masked images can
            have several.
        seed: of the choice of examples, and of sampling.
        prompt: wording of the prompt: `paper`, `official` or `tuned`.
        batch_tokens: prompt tokens in one batch of independent windows.

    Raises:
        V2LError: a value is out of its range (`MINIMA`, `ORDERS`, `SCOPES`), or several samples would all be
            equal.
    """

    # What one prompt covers
    scope: str = "windows"
    n_predict: int = 2
    order: str = "raster"
    # The tokens around a window
    n_context: int = 16
    n_before: int = 16
    n_above: int = 0
    # Examples
    n_examples: int = 10
    splits: int = 1
    draws: int = 1
    contrast: float = 0.0
    # Candidates and their prior
    num_candidates: int = 32
    prior_weight: float = 0.0
    # Choice of a token
    temperature: float = 0.0
    top_k: int = 0
    num_samples: int = 1
    seed: int = 0
    # Text and speed
    prompt: str = "tuned"
    batch_tokens: int = 2048

    def __post_init__(self) -> None:
        check_wording(self.prompt)
        for name, least in MINIMA.items():
            if getattr(self, name) < least:
                raise V2LError(f"got {name} = {getattr(self, name)}", f"{least} and more")
        if self.order not in ORDERS:
            raise V2LError(f"got the order {self.order!r}", ", ".join(ORDERS), "--order raster")
        if self.scope not in SCOPES:
            raise V2LError(f"got the scope {self.scope!r}", ", ".join(SCOPES), "--set scope=windows")
        if self.num_samples > 1 and self.temperature == 0:
            got = f"got {self.num_samples} samples at temperature 0, which would all be equal"
            raise V2LError(got, "a temperature above 0", "--temperature 1")

    @property
    def num_prompts(self) -> int:
        """Prompts with examples that predict a window together."""
        return self.draws * self.splits

    @property
    def prompt_weights(self) -> tuple[float, ...]:
        """Weight of each prompt in the sum of log-probabilities: a mean, minus the contrast."""
        return (1 / self.num_prompts,) * self.num_prompts + ((-self.contrast,) if self.contrast else ())


BLIND, ADAPTER = RestorationSettings(**PRESETS["blind"]), RestorationSettings(**PRESETS["adapter"])


def settings_or_default(settings: RestorationSettings | None, pipeline: Pipeline) -> RestorationSettings:
    """The settings themselves; for None the preset `adapter` when the LLM has an adapter, else `blind`."""
    return settings or (ADAPTER if pipeline.adapter else BLIND)


def stored(settings: RestorationSettings) -> dict[str, Any]:
    """The settings under their names of version 0.1, as files store them: older runs can be resumed."""
    old_names = {new: old for old, new in RENAMED.items()}
    return {old_names.get(name, name): value for name, value in asdict(settings).items()}
