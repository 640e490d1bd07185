"""The page's own components: header, model pill, hero, progress card, error card, page controls. Knows no model and no turn.

Each is a `gr.HTML` whose template is fixed: a template is code (`${…}` in it runs), so values arrive by `watch` and are set with
`textContent`. Values, all JSON; None hides a card:

    model_pill   {"state": "none"|"ready"|"busy"|"failed", "name": str, "detail": str}
                 and "tab": whose it is; shown is that of the open tab, and where it has none, of the first
                 busy shows `detail` ("Downloading 1.6 / 3.8 GB"; empty: "Generating") before the name, ready shows it after the name
    stage_card   {"title": str, "detail": str, "done": number, "total": number}   total 0: no bar, the work is not counted
    error_card   {"cause": str, "remedy": str, "log": str, "action": str}   log and action may be missing; the action is a button that
                 triggers the component's `click` event
    plain_line   {"text": str}
    download     {"name": str, "text": str, "at": number}   a new value starts a download; `at` makes the same file twice two values
    hero         {"subline": str}   empty: the default line

`model_news` has no value: its event `models` tells tabs that models may have come, gone or been loaded, and with {"model": id,
"tab": id} that one was chosen for a tab.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

SEAL = (Path(__file__).parent / "assets" / "seal.svg").read_text("utf-8")
GEAR = (
    '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M2.5 6h8.2M15.3 6h2.2M2.5 14h2.2M9.3 14h8.2"/>'
    '<circle cx="13" cy="6" r="2.2"/><circle cx="7" cy="14" r="2.2"/></svg>'
)
LIVE = "\nshow(); watch('value', show);"


def brand() -> gr.HTML:
    """Seal and wordmark, the current language first."""
    return gr.HTML(
        html_template=f'<div class="pz-brand">{SEAL}<span class="pz-name" data-t="app.name"></span>'
        '<span class="pz-other" data-t="app.other_name"></span></div>',
        js_on_load="pz.fill(element);", elem_id="brand", apply_default_css=False,
    )  # fmt: skip


def settings_button() -> gr.HTML:
    """The icon that opens and closes the settings sidebar."""
    return gr.HTML(
        html_template=f'<button type="button" class="pz-gear" aria-controls="settings">{GEAR}</button>',
        js_on_load="const b = element.querySelector('button'); b.setAttribute('aria-label', pz.t('app.settings'));"
        " b.title = pz.t('app.settings'); b.addEventListener('click', () => pz.settings());",
        elem_id="gear", apply_default_css=False,
    )  # fmt: skip


def model_pill() -> gr.HTML:
    """Which model answers and what it does now: a dot, always with words."""
    return gr.HTML(
        {"state": "none", "name": "", "detail": ""},
        html_template='<div class="pz-pill" role="status"><i></i><b></b><span></span></div>',
        js_on_load="""const told = {};
const show = () => {
  if (props.value) told[props.value.tab ?? ''] = props.value;
  const v = told[document.documentElement.dataset.tab] ?? told[pz.tabs[0]] ?? props.value ?? {state: 'none', name: '', detail: ''};
  const pill = element.querySelector('.pz-pill');
  const ready = v.state === 'ready';
  pill.dataset.state = v.state;
  pill.querySelector('b').textContent = ready ? v.name : (v.state === 'busy' && v.detail) || pz.t('pill.' + v.state);
  pill.querySelector('span').textContent = ready ? v.detail : v.state === 'none' ? '' : v.name;
};
addEventListener('pz-tab', show);
addEventListener('pz-pill', (event) => { told[event.detail.tab] = event.detail; show() });"""
        + LIVE,
        elem_id="pill", apply_default_css=False,
    )  # fmt: skip


def hero() -> gr.HTML:
    """Ink mountains, a sun and one line; first run only."""
    return gr.HTML(
        {"subline": ""},
        html_template='<div class="pz-hero"><div class="pz-mountains" aria-hidden="true"></div>'
        '<div class="pz-sun" aria-hidden="true"></div><h1 data-t="chat.hero"></h1><p></p></div>',
        js_on_load="""const show = () => {
  pz.fill(element);
  element.querySelector('p').textContent = (props.value && props.value.subline) || pz.t('chat.subline');
};"""
        + LIVE,
        elem_id="chat-hero", apply_default_css=False,
    )  # fmt: skip


def stage_card(elem_id: str = "chat-stage") -> gr.HTML:
    """What a turn waits for, where its answer will appear. Only the title is announced: numbers change too often."""
    return gr.HTML(
        None,
        html_template='<div class="pz-card pz-stage" hidden><div class="pz-card-title" role="status"></div>'
        '<div class="pz-track" role="progressbar" aria-valuemin="0" aria-valuemax="100"><div></div></div>'
        '<div class="pz-detail"></div></div>',
        js_on_load="""const show = () => {
  const v = props.value, card = element.querySelector('.pz-stage'), track = card.querySelector('.pz-track');
  const title = card.querySelector('.pz-card-title'), share = v && v.total ? Math.min(1, v.done / v.total) : 0;
  card.hidden = !v;
  if (title.textContent !== (v ? v.title : '')) title.textContent = v ? v.title : '';
  card.querySelector('.pz-detail').textContent = v ? v.detail : '';
  track.hidden = !(v && v.total);
  track.setAttribute('aria-valuenow', Math.round(share * 100));
  track.setAttribute('aria-label', v ? v.title : '');
  track.firstElementChild.style.transform = `scaleX(${share})`;
};"""
        + LIVE,
        elem_id=elem_id, elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def error_card(elem_id: str = "chat-error") -> gr.HTML:
    """What failed and why, what to do, and the log on demand."""
    return gr.HTML(
        None,
        html_template='<div class="pz-card pz-error" role="alert" hidden><div class="pz-card-title"></div><div class="pz-detail"></div>'
        '<button type="button" class="pz-action"></button><details><summary data-t="chat.show_log"></summary><pre></pre></details></div>',
        js_on_load="""const show = () => {
  const v = props.value, card = element.querySelector('.pz-error'), details = card.querySelector('details');
  const button = card.querySelector('button');
  pz.fill(element);
  card.querySelector('.pz-card-title').textContent = v ? v.cause : '';
  card.querySelector('.pz-detail').textContent = v ? v.remedy : '';
  button.textContent = (v && v.action) || '';
  button.hidden = !(v && v.action);
  button.onclick = () => trigger('click');
  details.hidden = !(v && v.log);
  details.open = false;
  card.querySelector('pre').textContent = (v && v.log) || '';
  card.hidden = !v;
};"""
        + LIVE,
        elem_id=elem_id, elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def plain_line(elem_id: str) -> gr.HTML:
    """One line of text, whatever is in it; hidden while it is empty. Announced politely when it changes."""
    return gr.HTML(
        {"text": ""},
        html_template='<div class="pz-line" role="status" hidden></div>',
        js_on_load="""const show = () => {
  const line = element.querySelector('.pz-line'), text = (props.value && props.value.text) || '';
  line.textContent = text;
  line.hidden = !text;
};"""
        + LIVE,
        elem_id=elem_id, elem_classes=f"pz-{elem_id.rpartition('-')[2]}", apply_default_css=False,
    )  # fmt: skip


def download(elem_id: str) -> gr.HTML:
    """A file made in the browser from a value, so nothing is written on the server; shows nothing itself."""
    return gr.HTML(
        None,
        html_template="<span hidden></span>",
        js_on_load="""watch('value', () => {
  const v = props.value;
  if (!v) return;
  const type = v.name.endsWith('.json') ? 'application/json' : 'text/markdown;charset=utf-8';
  const link = document.createElement('a'), url = URL.createObjectURL(new Blob([v.text], {type}));
  link.href = url;
  link.download = v.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});""",
        elem_id=elem_id, elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def model_news() -> gr.HTML:
    """Heard when the page of models has news, when the settings are opened, and when the visitor comes back to the page."""
    return gr.HTML(
        html_template="<span hidden></span>",
        js_on_load="""addEventListener('pz-models', (event) => trigger('models', event.detail ?? {}));
document.addEventListener('visibilitychange', () => { if (!document.hidden) trigger('models', {}) });""",
        elem_id="model-news", elem_classes="pz-slot", apply_default_css=False,
    )  # fmt: skip


def page_controls() -> gr.HTML:
    """Title of the settings, language and appearance: all of it in the browser, no event reaches the server."""
    return gr.HTML(
        html_template=f"""<div class="pz-controls"><h2 data-t="app.settings"></h2>
<fieldset><legend data-t="app.language"></legend><div class="pz-segments">
{_choice("pz-language", "en", '<span lang="en">English</span>')}
{_choice("pz-language", "zh", '<span lang="zh-CN">中文</span>')}</div></fieldset>
<fieldset><legend data-t="app.appearance"></legend><div class="pz-segments">{_choice("pz-theme", "system", _text("app.appearance_system"))}
{_choice("pz-theme", "light", _text("app.appearance_light"))}
{_choice("pz-theme", "dark", _text("app.appearance_dark"))}</div></fieldset></div>""",
        js_on_load="""pz.fill(element);
const on = (name, now, then) => element.querySelectorAll(`input[name=${name}]`).forEach((input) => {
  input.checked = input.value === now;
  input.addEventListener('change', () => then(input.value));
});
on('pz-language', pz.lang, pz.setLanguage);
on('pz-theme', pz.theme, pz.setTheme);""",
        elem_id="page-controls", apply_default_css=False,
    )  # fmt: skip


def _choice(name: str, value: str, text: str) -> str:
    return f'<label><input type="radio" name="{name}" value="{value}">{text}</label>'


def _text(key: str) -> str:
    return f'<span data-t="{key}"></span>'
