"""options ──► the pipeline that a task runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from v2l.cli.options import Options

if TYPE_CHECKING:
    from v2l.pipeline.pipeline import Pipeline


def load_pipeline(
    given: Options, tokenizer: str | None, llm: str | None = None, adapter: str | None = None
) -> Pipeline:
    """Load a tokenizer and choose the LLM.

    The LLM is the named one, else the one of the config, else the one whose vocabulary the tokenizer
    uses.

    An adapter, if one is named, is applied when the LLM is loaded.

    Raises:
        V2LError: the config is missing, the tokenizer is unknown, or its checkpoint is damaged.
    """
    from v2l.config import load_config
    from v2l.pipeline.pipeline import Pipeline

    if llm is None and given.config is not None:
        llm = load_config(given.config).models.llm
    return Pipeline.load(tokenizer, llm, given.device, given.dtype, adapter)
