"""The web workbench: one Gradio page, a tab per part, mounted in the process that also serves the API."""

from __future__ import annotations

from importlib.resources import files

import fastapi
import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.models.pool import ModelPool
from whetstone.tasks import CardShelf
from whetstone.ui.compare_earlier import SeenRuns
from whetstone.ui.compare_report import report_routes
from whetstone.ui.tabs import TABS, Workbench, build_tab

# The page needs nothing from elsewhere, and may ask for nothing there, whatever a model writes. Gradio compiles its
# templates in the browser, which needs 'unsafe-eval'.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; "
    "object-src 'none'; form-action 'self'"
)


def build_workbench(
    pool: ModelPool,
    store: ConversationStore,
    *,
    own_user: bool = False,
    run_code: bool = False,
    cards: CardShelf | None = None,
) -> Workbench:
    """The page with its tabs. Serve it with `mount_workbench`, which also gives it its looks.

    Args:
        own_user, run_code: see `Workbench`.
        cards: the task cards to offer; None for those that Whetstone brings.
    """
    page: Workbench
    with Workbench(
        own_user=own_user,
        run_code=run_code,
        cards=CardShelf() if cards is None else cards,
        title="Whetstone",
        analytics_enabled=False,
        fill_width=True,
    ) as page:
        if len(TABS) == 1:  # a row of one tab would only take room
            build_tab(TABS[0][1])(page, pool, store)
        else:
            with gr.Tabs(overflow_behavior="wrap"):  # behind three dots, nobody looks for them
                for name, where in TABS:
                    with gr.Tab(name):
                        build_tab(where)(page, pool, store)
    page.queue(api_open=False, default_concurrency_limit=None)  # a stream may not hold up another person's
    return page


def mount_workbench(
    app: fastapi.FastAPI,
    pool: ModelPool,
    store: ConversationStore,
    *,
    path: str = "/",
    own_user: bool = False,
    run_code: bool = False,
    cards: CardShelf | None = None,
) -> fastapi.FastAPI:
    """Mount the workbench into an app, after all its other routes. Who may come in is for the app to decide.

    Args:
        path: where.
        own_user: the app lets in nobody but the user who started it, see `Workbench`.
        run_code, cards: see `build_workbench`.
    """
    app.include_router(report_routes(SeenRuns(all_runs=own_user or pool.any_spec)))
    mounted: fastapi.FastAPI = gr.mount_gradio_app(
        app,
        build_workbench(pool, store, own_user=own_user, run_code=run_code, cards=cards),
        path=path,
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css=_text("style.css"),
        js=_text("page.js"),
        head=f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
    )
    return mounted


def _theme() -> gr.themes.Base:
    """Gradio's own, in fonts that the reader's machine has: nothing is fetched."""
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=("ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )


def _text(name: str) -> str:
    return files("whetstone.ui").joinpath(name).read_text(encoding="utf-8")
