"""The Chat tab: its widgets, and which action each one calls."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.models.pool import ModelPool
from whetstone.ui.chat_actions import ChatActions
from whetstone.ui.chat_view import ChatView, Widgets
from whetstone.ui.export import exporter
from whetstone.ui.page import NUMBERS, Page
from whetstone.ui.running import RunningAnswers
from whetstone.ui.thread import Thread, thread_html

IMPORTED = [".json", ".jsonl", ".zip"]
# The models that an address asks for: ?model=NAME&second=NAME, as the Tune tab writes it.
_OF_BESIDE = """(page, beside) => [page, JSON.stringify(
  ['model', 'second'].map((name) => new URLSearchParams(location.search).get(name) || ''))]"""


def build_chat(page: gr.Blocks, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab's widgets where it is called, and wire them."""
    script = files("whetstone.ui").joinpath("act.js").read_text(encoding="utf-8")
    state = gr.State(Page())
    address = gr.Textbox(visible=False)
    beside = gr.Textbox(visible=False)
    with gr.Row(elem_id="wh-chat", equal_height=False):
        with gr.Column(elem_id="wh-side", scale=0, min_width=250):
            new = gr.Button("New conversation", elem_id="wh-new", variant="secondary")
            search = gr.Textbox(
                label="Search conversations",
                show_label=False,
                placeholder="Search",
                container=False,
                elem_id="wh-search",
            )
            sidebar = _html(script, elem_id="wh-conversations", server_functions=[exporter(store)])
            bring_in = gr.UploadButton("Import", file_types=IMPORTED, size="sm", elem_id="wh-import")
        with gr.Column(elem_id="wh-main", scale=1, min_width=0):
            gr.Button("Chats", elem_id="wh-side-button", size="sm", scale=0, min_width=60)
            settings = _settings(pool)
            thread = _html(script, elem_id="wh-thread", value=thread_html(Thread()))
            live = _html(script, elem_id="wh-live")
            with gr.Column(elem_id="wh-composer"):
                notice = _html(script, elem_id="wh-notice")
                with gr.Row(elem_id="wh-compose"):
                    box = gr.Textbox(
                        label="Message",
                        show_label=False,
                        placeholder="Message",
                        lines=1,
                        max_lines=12,
                        autofocus=True,
                        container=False,
                        scale=1,
                        elem_id="wh-box",
                    )
                    send = gr.Button("Send", variant="primary", scale=0, min_width=80, elem_id="wh-send")
                    stop = gr.Button("Stop", variant="stop", scale=0, min_width=80, visible=False, elem_id="wh-stop")
                meter = _html(script, elem_id="wh-meter")
    widgets = Widgets(state, address, thread, live, notice, meter, sidebar, box, send, stop, search, tuple(settings))
    running = RunningAnswers()
    actions = ChatActions(pool, store, running, ChatView(pool, store, running, widgets))
    _wire(page, actions, widgets, new, bring_in, beside)


def _html(script: str, **more: Any) -> gr.HTML:
    return gr.HTML(js_on_load=script, apply_default_css=False, **more)


def _settings(pool: ModelPool) -> list[gr.components.Component]:
    """The settings, in the order of `page.Settings`."""
    names = list(pool.offered)
    with gr.Row(elem_id="wh-top"):
        model = gr.Dropdown(
            names,
            value=pool.default,
            label="Model",
            allow_custom_value=pool.any_spec,
            scale=1,
            min_width=115,
            elem_id="wh-model",
        )
        second = gr.Dropdown(
            [("None", ""), *((name, name) for name in names)],
            value="",
            label="Second model",
            allow_custom_value=pool.any_spec,
            scale=1,
            min_width=115,
            elem_id="wh-second",
        )
    with gr.Accordion("System prompt and sampling", open=False, elem_id="wh-settings"):
        system = gr.Textbox(label="System prompt", lines=2, max_lines=8)
        compares = gr.Checkbox(False, label="Have a second answer written with another system prompt")
        second_system = gr.Textbox(
            label="Second system prompt",
            placeholder="Empty: the second answer gets no system prompt",
            lines=2,
            max_lines=8,
            visible=False,
            elem_id="wh-second-system",
        )
        with gr.Row():
            # Not gr.Number, which turns a field that nobody has filled in into 0.
            numbers = [
                gr.Textbox(label=label, placeholder="the engine's own", max_lines=1, min_width=120)
                for label in NUMBERS.values()
            ]
        probabilities = gr.Checkbox(False, label="Ask for token probabilities")
    compares.change(
        lambda on: gr.update(visible=on), compares, second_system, show_progress="hidden", api_visibility="private"
    )
    return [model, second, system, compares, second_system, *numbers, probabilities]


def _wire(
    page: gr.Blocks,
    actions: ChatActions,
    widgets: Widgets,
    new: gr.Button,
    bring_in: gr.UploadButton,
    beside: gr.Textbox,
) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    settings = list(widgets.settings)
    shown = [widgets.thread, widgets.live, widgets.notice, widgets.sidebar, widgets.box, widgets.send, widgets.stop]
    shown += settings
    talking = [widgets.page, widgets.box, *settings]

    def afterwards(event: Any) -> None:
        """Follow what was begun, and count the context before and after."""
        event.then(actions.meter, talking, widgets.meter, **quiet)
        event.then(actions.follow, widgets.page, shown, **quiet).then(actions.meter, talking, widgets.meter, **quiet)

    many: dict[str, Any] = {**quiet, "trigger_mode": "multiple"}
    afterwards(gr.on([widgets.box.submit, widgets.send.click], actions.send, talking, shown, **many))
    for html in (widgets.thread, widgets.live, widgets.notice, widgets.sidebar):
        afterwards(html.act(actions.act, talking, shown, **many))
    afterwards(new.click(actions.new, widgets.page, shown, **many))
    afterwards(bring_in.upload(actions.bring_in, [widgets.page, bring_in, settings[0]], shown, **many))
    widgets.stop.click(actions.stop, widgets.page, None, **many)
    latest: dict[str, Any] = {**quiet, "trigger_mode": "always_last"}
    # Not `input`, which a text that is pasted or dictated does not raise.
    widgets.search.change(
        actions.search, [widgets.page, widgets.search], [widgets.sidebar, widgets.notice, widgets.live], **latest
    )
    counted = [event for widget in (widgets.box, *settings) if (event := getattr(widget, "change", None))]
    gr.on(counted, actions.meter, talking, widgets.meter, **latest)
    lists = settings[:2]
    looked = [event for widget in lists if (event := getattr(widget, "focus", None))]
    gr.on([*looked, page.load], actions.models, widgets.page, lists, **many)
    of_address = "(page, address) => [page, new URLSearchParams(location.search).get('chat') || '']"
    loaded = page.load(actions.load, [widgets.page, widgets.address], shown, js=of_address, **quiet)
    afterwards(loaded)
    loaded.then(actions.beside, [widgets.page, beside], lists, js=_OF_BESIDE, **quiet)
