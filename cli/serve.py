"""v2l serve: photographs and questions over HTTP ──► answers of the embedded LLM, or of another server's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.options import Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.server.settings import ServerSettings
    from v2l.server.upstream import Upstream

Host = Annotated[str, typer.Option(help="Address to listen on; others than this machine need a key.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
UpstreamUrl = Annotated[
    str | None,
    typer.Option(
        "--upstream",
        help="A server whose text-only LLM answers, up to its version, by OpenAI's protocol; its key: "
        "OPENAI_API_KEY.",
        metavar="URL",
    ),
]
UpstreamModel = Annotated[
    str | None, typer.Option(help="That server's name for the LLM; by default its only one.", metavar="NAME")
]
UpstreamTimeout = Annotated[float, typer.Option(help="Seconds until that server sends its next bytes.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="V2L_API_KEY",
        help="What clients must send as a bearer token; better in the environment than here.",
        show_envvar=True,
    ),
]
WithoutKey = Annotated[
    bool, typer.Option("--without-key", help="Let other machines in without a key, in a closed network.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Fetch images from this host; may be given again.", metavar="HOST"),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(help="Let a web page of this origin call the server; may be given again.", metavar="ORIGIN"),
]
MaxRequests = Annotated[int, typer.Option(help="Requests at once; more get status 429.", min=1)]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def serve(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    upstream: UpstreamUrl = None,
    upstream_model: UpstreamModel = None,
    upstream_timeout: UpstreamTimeout = 120.0,
    api_key: ApiKey = None,
    without_key: WithoutKey = False,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    max_requests: MaxRequests = 128,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    open_page: Open = False,
) -> None:
    """Answer about images over HTTP, by OpenAI's protocol, with the embedded LLM or another server's."""
    with garbage_kept(), output(as_json=False) as out:
        from v2l.server.app import create_app
        from v2l.server.run import listen, log_to_stderr
        from v2l.server.run import serve as run
        from v2l.server.settings import Limits, ServerSettings

        limits = Limits(
            requests=max_requests, answers_waiting=max_requests, upstream_seconds=upstream_timeout
        )
        settings = ServerSettings(
            host, port, api_key, without_key, tuple(allow_host or ()), tuple(allow_origin or ()), limits
        )
        log_to_stderr()
        listener = listen(settings)  # a taken port is an error before the models are loaded
        answers = open_upstream(upstream, upstream_model, settings)
        pipeline = load_pipeline(options(ctx), tokenizer, llm)
        address = f"http://{shown_host(host)}:{listener.getsockname()[1]}"

        def page_built() -> None:
            gc.enable()
            model = app.state.service.chat_model
            out.result({}, f"v2l serves {model} at {address} (Ctrl-C stops it)")
            if open_page:
                open_browser(address)

        app = create_app(pipeline, settings, answers, page_built)
        app.state.service.warm_up()
        run(app, listener)
        out.note("v2l: stopped")


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Collect no garbage until `gc.enable()` or the end: a sixth of the time of importing and loading."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def open_upstream(url: str | None, model: str | None, settings: ServerSettings) -> Upstream | None:
    """The client of the server whose LLM answers; None without an address.

    Raises:
        V2LError: the address is not valid, or the server does not name its only LLM.
    """
    if url is None:
        if model is not None:
            raise V2LError(f"got --upstream-model {model} without a server", "--upstream URL beside it")
        return None
    from v2l.llm.endpoint import Endpoint
    from v2l.server.metrics import Metrics
    from v2l.server.upstream import Upstream

    return Upstream(Endpoint(url, model, retries=0), settings.limits, Metrics())


def shown_host(host: str) -> str:
    """A host as addresses have it: IPv6 in brackets; all addresses as this machine's."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{shown}]" if ":" in shown else shown


def open_browser(address: str) -> None:
    """Show the page in a browser, without waiting for it."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
