"""A tiny pipeline served by a process of its own: prints its port, then serves until it is stopped."""

from __future__ import annotations

from served import local_settings
from tiny_pipeline import tiny_pipeline

from v2l.server.app import create_app
from v2l.server.run import listen, serve

if __name__ == "__main__":
    settings = local_settings()
    listener = listen(settings)
    app = create_app(
        tiny_pipeline(context=2048), settings, page_built=lambda: print(listener.getsockname()[1], flush=True)
    )
    app.state.service.warm_up()
    serve(app, listener)
    print("stopped", flush=True)
