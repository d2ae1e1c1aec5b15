"""options ──► the pipeline that a task runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from v2l.cli.options import Options

if TYPE_CHECKING:
    from v2l.pipeline.pipeline import Pipeline


def load_pipeline(
    given: Options, checkpoint: str | None, llm: str | None = None, adapter: str | None = None
) -> Pipeline:
    """Load a checkpoint and choose the LLM: the one named, else the config's, else the one whose words the checkpoint holds.

    An adapter, when one is named, is laid over the LLM when that is loaded.

    Raises:
        V2LError: the config or the checkpoint is missing or damaged.
    """
    from v2l.config import load_config
    from v2l.pipeline.pipeline import Pipeline

    if llm is None and given.config is not None:
        llm = load_config(given.config).models.llm
    return Pipeline.load(checkpoint, llm, given.device, given.dtype, adapter)
