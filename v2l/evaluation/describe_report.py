"""records of captions and answers ──► their report: one object for programs, a page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from v2l.evaluation.describe import answer_report, caption_report
from v2l.evaluation.journal import Record
from v2l.evaluation.table import markdown_table
from v2l.tasks.description.describe import Describer

SHOWN = 20
PROTOCOL = (
    "describe: cosine of caption and image by the encoder that chose the words, "
    "minus the mean over the wrong images; answers by exact match without case and final full stop"
)
OWN = "captions of the LLM"


def report(
    captions: tuple[Describer, Sequence[Record]] | None, answers: tuple[Describer, Sequence[Record]] | None
) -> dict[str, Any]:
    """The object for programs: a part for each task that was measured."""
    parts = {}
    if captions:
        describer, records = captions
        parts["captions"] = caption_report(describer.pipeline.joint_encoder, records) | _common(
            describer, records
        )
    if answers:
        describer, records = answers
        parts["answers"] = answer_report(records) | _common(describer, records)
    first = next(iter(parts.values()))
    return {**parts, "seed": first["settings"]["seed"], "protocol": PROTOCOL, "stack": first["stack"]}


def page(report: Mapping[str, Any]) -> str:
    """The report as text, with the first captions and answers, none of them selected."""
    lines = []
    if captions := report.get("captions"):
        rows = {OWN: captions["metrics"]} | captions["baselines"]
        less = captions["metrics"]["difference_less_baseline"]
        head = ["", "cosine with its image", "with wrong images", "difference", "distinct-1", "distinct-2"]
        keys = ("score", "score_wrong_images", "difference", "distinct_1", "distinct_2")
        cells = [[name, *(figure(of[key]) for key in keys)] for name, of in rows.items()]
        lines += [
            f"{captions['n']:,} photographs, mean and 95 % interval; scored by {captions['judge']}",
            "",
            markdown_table(head, cells),
        ]
        lines += [
            "",
            f"The difference minus that of the baseline: {figure(less)}",
            "",
        ]
        lines += [
            f"The first {len(captions['shown'])}, in the order that the seed drew:",
            *map(result_text, captions["shown"]),
        ]
    if answers := report.get("answers"):
        rows = {"answers of the LLM": answers["metrics"]["exact_match"]} | answers["baselines"]
        lines += [
            "",
            f"{answers['n']:,} questions",
            "",
            markdown_table(["", "exact match"], [[name, figure(of)] for name, of in rows.items()]),
        ]
        lines += ["", f"The first {len(answers['shown'])}:", *map(result_text, answers["shown"])]
    return "\n".join(lines)


def figure(of: Mapping[str, Any]) -> str:
    """A value with its interval, when it has one."""
    interval = of["interval"]
    return f"{of['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def result_text(record: Mapping[str, Any]) -> str:
    """One caption or answer with the words of its image."""
    question = f"{record['question']} " if "question" in record else ""
    truth = f" (right: {record['truth']})" if "truth" in record else ""
    return f"  {record['image']}: {question}{record['text']}{truth}\n    {', '.join(record['words'])}"


def _common(describer: Describer, records: Sequence[Record]) -> dict[str, Any]:
    """What both parts hold: the first results, the skipped files, settings and pipeline."""
    read = [
        {key: value for key, value in record.items() if key != "vector"}
        for record in records
        if "skipped" not in record
    ]
    skipped = [
        {"image": record["image"], "reason": record["skipped"]} for record in records if "skipped" in record
    ]
    return {"shown": read[:SHOWN], "skipped": skipped, **describer.report()}
