"""claim: few-shot episodes are classified at least 4 times as fast as one by one, with the same predictions.

    python benchmarks/fewshot.py [FOLDER] [--ways 4] [--shots 3] [--episodes 3] [--plain-episodes 1] [--words
    21] [--rule RULE]

Same LLM, same episodes, one run. The claim is for 5-way 5-shot, which needs a folder with five classes of six
images. The plain side runs every prompt with every continuation from its first token, without a shared
prefix. It may get fewer episodes, because both sides are reported in episodes a second. Images are encoded
before the clock starts.
"""

from __future__ import annotations

import argparse
import resource
from dataclasses import replace
from pathlib import Path

from plain.clock import timed
from plain.fewshot import OneByOne

from v2l.pipeline.image_words import read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import (
    FewShotSettings,
    Method,
    classify_episode,
    find_episodes,
    image_paths,
)

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLES)
    parser.add_argument("--part", default="all")
    parser.add_argument("--ways", type=int, default=4)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--plain-episodes", type=int, default=1)
    parser.add_argument("--words", type=int, default=Method().words.count)
    parser.add_argument("--rule", default=Method().rule)
    given = parser.parse_args()
    method = replace(Method(), rule=given.rule, words=replace(Method().words, count=given.words))
    pipeline = Pipeline.load(device="cpu")
    episodes = find_episodes(
        given.folder, FewShotSettings(given.ways, given.shots, given.episodes, part=given.part, method=method)
    )
    images = read_image_words(
        pipeline.tokenizer,
        image_paths(episodes),
        method.words,
    )
    plain_llm = OneByOne(pipeline.llm.model, pipeline.llm.tokenizer, pipeline.llm.name)
    classify_episode(pipeline.llm, episodes[0], images, method)  # warm-up, not timed
    ours, seconds = timed(
        lambda: [classify_episode(pipeline.llm, episode, images, method) for episode in episodes]
    )
    few = episodes[: given.plain_episodes]
    plain, plain_seconds = timed(
        lambda: [classify_episode(plain_llm, episode, images, method) for episode in few]
    )
    apart = max(
        abs(one.scores[label] - two.scores[label])
        for one, two in zip(ours, plain, strict=False)
        for label in one.scores
    )
    same = sum(one.label == two.label for one, two in zip(ours, plain, strict=False))
    print(
        f"{pipeline.llm.name}, {given.ways}-way {given.shots}-shot, "
        f"{given.words} words an image, rule {given.rule}"
    )
    print(f"{same} of {len(few)} answers are the same, scores at most {apart:.1e} apart")
    print(
        f"plain {len(few) / plain_seconds:8.3f} episodes/s   {len(few)} episodes, every prompt from its start"
    )
    print(
        f"v2l   {len(episodes) / seconds:8.3f} episodes/s   {len(episodes)} episodes, "
        f"batches of {method.batch_size}"
    )
    print(f"ratio {plain_seconds / len(few) * len(episodes) / seconds:8.1f}")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
