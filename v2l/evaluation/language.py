"""photographs + a tokenizer whose codes are words + a frozen LLM ──► is there any language in the codes?

Two questions. Order: is the sentence of an image likelier, by the LLM, than the same words shuffled?
Completion: one word is masked; of ten candidates the LLM chooses the one with the likeliest sentence. The
other candidates are words of other photographs, drawn as often as they occur, so that frequent words are no
hint. The baseline chooses the candidate that is most frequent in the other photographs. Of equal candidates
each is as likely to be chosen. Masked words of one photograph are one group of a `GroupedShare`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from v2l.errors import V2LError
from v2l.evaluation.table import markdown_table
from v2l.images import Skipped, load_images
from v2l.llm.base import LocalLanguageModel
from v2l.metrics import GroupedShare, Mean
from v2l.progress import Progress, silent
from v2l.prompts.prompt import Prompt
from v2l.sources import ImageFile
from v2l.tokenizers.contract import ImageTokenizer

CANDIDATES = 10  # of a masked word, the true one among them
ORDERS = 2  # shuffled sentences of an image


@dataclass(frozen=True)
class LanguageSettings:
    """What is drawn.

    Attributes:
        seed: of the shuffled orders, the masked places and the candidates.
        places: masked words of each photograph.
        most: words of a sentence that are read, from its beginning.
    """

    seed: int = 0
    places: int = 2
    most: int = 128


@dataclass
class LanguageResult:
    """What was measured, a value for each photograph, or a list with a value for each of its masked words.

    Attributes:
        own: nats a word of each sentence.
        shuffled: nats a word of the same words in other orders.
        chosen: the chance that the LLM chooses the masked word: 1 or 0, or shared by equal candidates.
        frequent: the same for the baseline of frequent words.
        blind: the same for a choice at random.
        words: words of a sentence.
        skipped: files that could not be read.
    """

    own: list[float] = field(default_factory=list)
    shuffled: list[float] = field(default_factory=list)
    chosen: list[list[float]] = field(default_factory=list)
    frequent: list[list[float]] = field(default_factory=list)
    blind: list[list[float]] = field(default_factory=list)
    words: int = 0
    skipped: Skipped = field(default_factory=Skipped)


def sentences_of(
    tokenizer: ImageTokenizer,
    files: Sequence[ImageFile],
    most: int,
    skipped: Skipped,
    progress: Progress = silent,
) -> list[list[int]]:
    """The ids of the codes of each readable photograph, in their order.

    Raises:
        V2LError: the codes are no words of an LLM.
    """
    if tokenizer.vocabulary is None or tokenizer.codebook_size is None:
        raise V2LError(
            f"the codes of the tokenizer {tokenizer.NAME!r} are no words of an LLM",
            "codes that are token ids",
            "--tokenizer v2l",
        )
    found: list[list[int]] = []
    for _, image in load_images(files, skipped):
        ids = tokenizer.encode(image[None]).ids
        assert ids is not None  # of the kind codes
        found.append([int(code) for code in ids[0, :most]])
        progress("photographs", len(found) + len(skipped), len(files))
    return found


def evaluate_language(
    sentences: Sequence[Sequence[int]],
    llm: LocalLanguageModel,
    settings: LanguageSettings,
    progress: Progress = silent,
) -> LanguageResult:
    """Measure the sentences of photographs.

    Args:
        sentences: token ids of the LLM, of each photograph, at least 2 each.
        llm: frozen.
        settings: what is drawn.
        progress: called after every photograph.

    Raises:
        V2LError: there are fewer than three photographs.
    """
    if len(sentences) < 3:
        raise V2LError(f"got {len(sentences)} photographs", "at least 3: words of others are candidates")
    result = LanguageResult(words=len(sentences[0]))
    everywhere = Counter(word for sentence in sentences for word in sentence)
    for number, sentence in enumerate(sentences):
        random = Random(f"{settings.seed}/{number}")
        orders = [random.sample(sentence, len(sentence)) for _ in range(ORDERS)]
        own, *others = nats_a_word(llm, [sentence, *orders])
        result.own.append(own)
        result.shuffled.append(sum(others) / len(others))
        elsewhere = everywhere - Counter(sentence)
        places = random.sample(range(len(sentence)), min(settings.places, len(sentence)))
        chances = [completion_chances(llm, sentence, place, elsewhere, random) for place in places]
        result.chosen.append([by_llm for by_llm, _, _ in chances])
        result.frequent.append([by_frequency for _, by_frequency, _ in chances])
        result.blind.append([blindly for _, _, blindly in chances])
        progress("sentences", number + 1, len(sentences))
    return result


def completion_chances(
    llm: LocalLanguageModel, sentence: Sequence[int], place: int, elsewhere: Counter[int], random: Random
) -> tuple[float, float, float]:
    """The chances that the word at a place is chosen: by the LLM, by frequency elsewhere, and at random."""
    candidates = draw_candidates(sentence[place], elsewhere, random)
    nats = nats_a_word(llm, [_with(sentence, place, word) for word in candidates])
    by_llm = chance_of_first([-value for value in nats])
    by_frequency = chance_of_first([elsewhere[word] for word in candidates])
    return by_llm, by_frequency, 1 / len(candidates)


def nats_a_word(llm: LocalLanguageModel, sentences: Sequence[Sequence[int]]) -> list[float]:
    """The mean negative log-likelihood of each sentence's words behind its first one."""
    requests = [(Prompt((tuple(sentence[:1]),)), [Prompt((tuple(sentence[1:]),))]) for sentence in sentences]
    return [-scores[0].mean for scores in llm.loglikelihood(requests)]


def draw_candidates(word: int, elsewhere: Counter[int], random: Random) -> list[int]:
    """The masked word, then different words of other photographs, drawn by how often they occur."""
    others = Counter({other: count for other, count in elsewhere.items() if other != word})
    drawn: list[int] = []
    while len(drawn) < CANDIDATES - 1 and others:
        found = random.choices(list(others), list(others.values()))[0]
        drawn.append(found)
        del others[found]
    return [word, *drawn]


def chance_of_first(scores: Sequence[float]) -> float:
    """The chance of the first candidate, if one of those with the highest score is chosen at random."""
    best = max(scores)
    return scores.count(best) ** -1 if scores[0] == best else 0.0


def _with(sentence: Sequence[int], place: int, word: int) -> list[int]:
    """The sentence with another word at one place."""
    return [*sentence[:place], word, *sentence[place + 1 :]]


def report(result: LanguageResult) -> dict[str, Any]:
    """Figures with 95 % intervals, for programs."""
    gain = [other - own for own, other in zip(result.own, result.shuffled, strict=True)]
    own, shuffled = Mean.of(result.own), Mean.of(result.shuffled)
    blind = GroupedShare.of(result.blind)
    return {
        "photographs": len(result.own),
        "words": result.words,
        "nats_a_word": own.to_dict(),
        "nats_a_word_shuffled": shuffled.to_dict(),
        "gain_of_order": Mean.of(gain).to_dict(),
        "perplexity": math.exp(own.value),
        "perplexity_shuffled": math.exp(shuffled.value),
        "completion": GroupedShare.of(result.chosen).to_dict(),
        "completion_by_frequency": GroupedShare.of(result.frequent).to_dict(),
        "chance": blind.value,
        "masked": blind.n,
    }


def page(found: dict[str, Any]) -> str:
    """The figures of `report` for people."""

    def row(name: str, key: str) -> list[str]:
        value, (low, high) = found[key]["value"], found[key]["interval"]
        return [name, f"{value:.3f}", f"{low:.3f} to {high:.3f}"]

    rows = [
        row("nats a word, own order", "nats_a_word"),
        row("nats a word, shuffled", "nats_a_word_shuffled"),
        row("gain of the own order", "gain_of_order"),
        row(f"masked word of {CANDIDATES} candidates, LLM", "completion"),
        row("the same, most frequent word", "completion_by_frequency"),
    ]
    return "\n".join(
        [
            f"{found['photographs']:,} photographs, {found['words']:,} words each; {found['masked']:,} "
            f"masked words; chance {found['chance']:.1%}. Perplexity {found['perplexity']:,.0f}, shuffled "
            f"{found['perplexity_shuffled']:,.0f}.",
            "",
            markdown_table(["", "value", "95 % interval"], rows),
        ]
    )
