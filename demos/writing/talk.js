// The writing page. Given by Gradio: element, props, watch, trigger, server (writing_now, writing_do). Runs in one function with form.js,
// sheet.js and figure.js. What models, sources and visitors wrote is set with textContent and as attributes, never as HTML.
const $ = (selector) => element.querySelector(selector), make = pz.make;
const say = (key, values = {}) => pz.t("writing." + key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const [pick, pickOne] = element.querySelectorAll("input[type=file]");
const POLL = 350;  // milliseconds between two looks at work under way
let key = "", state = { at: -1, blocks: [], stages: [], versions: { all: [] }, own: [], materials: [], told: [] };
let polling = 0, lost = 0, opens = () => {};
const ready = new Promise((resolve) => { opens = resolve });  // once the page has its key: whoever is quicker waits for it

const news = (text) => { $(".pz-writing-news").textContent = text ?? "" };
const about = () => ({ key, lang: pz.lang, at: state.at, model: form.model });
const taken = (answer) => {
  lost = 0;
  if (answer.pill) dispatchEvent(new CustomEvent("pz-pill", { detail: answer.pill }));
  if (answer.refused) news(answer.refused);
  if (answer.blocks) {
    const ended = state.running && !answer.running;
    state = answer;
    draw();
    if (ended || (!answer.running && answer.at !== kept)) keep();
  }
  clearTimeout(polling);
  if (state.running) polling = setTimeout(refresh, document.hidden ? 4 * POLL : POLL);
  return answer;
};
const ask = async (what) => {
  await ready;
  news("");
  try { return taken(await server.writing_do({ ...about(), ...what })) }
  catch { news(say("lost")); return { refused: true } }
};
const refresh = async () => {
  if (!key) return;
  try { taken(await server.writing_now(about())) }
  catch {  // the server may be busy, or gone: it is asked less and less often
    clearTimeout(polling);
    if (state.running) polling = setTimeout(refresh, POLL * 2 ** Math.min(6, ++lost));
  }
};
const once = (what) => ask({ at: -1, ...what });

// The browser keeps the form and the text, so that they outlive the server.
let kept = -1, keeping = 0;
const keep = (soon = 0) => {
  clearTimeout(keeping);
  keeping = setTimeout(() => {
    kept = state.at;
    if (key) trigger("kept", { key, form, at: Date.now() });
  }, soon);
};

const send = async (file) => {
  await ready;
  try {
    const answer = await fetch(`puyu/writing/${key}?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
    if (!answer.ok) throw new Error(answer.status);
    const told = taken(await answer.json());
    if (told.opened) news(say("opened"));
    return told;
  } catch { news(say("lost")); return { refused: true } }
};
const bring = async (files) => {
  const list = [...files].slice(0, 40);
  news("");
  for (const [at, file] of list.entries()) {
    if (list.length > 1) news(say("adding", { done: at + 1, total: list.length }));
    const told = await send(file);
    if (told.refused) return;
  }
  if (list.length > 1) news("");
};
const save = async (format) => {
  news(say("exporting"));
  try {
    const answer = await fetch(`puyu/writing/${key}/export/${format}?lang=${pz.lang}`);
    if (!answer.ok) { news((await answer.json()).refused); return }
    const name = decodeURIComponent(answer.headers.get("content-disposition")?.split("filename*=utf-8''")[1] ?? `article.${format}`);
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    news("");
  } catch { news(say("lost")) }
};

const hear = () => {
  const told = props.value;
  if (!told?.key || told.key === key) return;
  key = told.key;
  opens();
  state = { ...state, at: -1 };
  Object.assign(form, told.form);
  drawForm();
  choices();
};
const choices = async () => {
  const told = await once({ do: "choices", painter: form.painter });
  if (told.models) offered(told);
};
addEventListener("pz-tab", () => { if (document.documentElement.dataset.tab === "writing") { refresh(); if (key && !offers) choices() } });
addEventListener("pz-models", () => { if (key) choices() });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh() });
