// The writing page. Given by Gradio: element, props, watch, trigger, server (writing_now, writing_do). Runs in one function with form.js,
// sheet.js and figure.js. What models, sources and visitors wrote is set with textContent and as attributes, never as HTML.
const $ = (selector) => element.querySelector(selector), make = pz.make;
const say = (key, values = {}) => pz.t("writing." + key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const [pick, pickOne] = element.querySelectorAll("input[type=file]");
const POLL = 350;  // milliseconds between two looks at a text that grows
const NOTHING = { at: -1, blocks: [], stages: [], versions: { all: [] }, own: [], materials: [], told: [] };
let key = "", state = NOTHING, polling = 0, lost = 0, presses = 0, starting = null, opens = () => {};
const ready = new Promise((resolve) => { opens = resolve });  // once the page has its key: whoever is quicker waits for it

const news = (text) => { $(".pz-writing-news").textContent = text ?? "" };
const seen = new Map();  // what each part of the page was last drawn from: it is drawn anew only where that changed
const changed = (part, ...from) => {
  const now = JSON.stringify(from), is = seen.get(part) !== now;
  seen.set(part, now);
  return is;
};
const about = () => ({ key, lang: pz.lang, at: state.at, model: form.model });
const again = (after) => {
  clearTimeout(polling);
  if (state.running) polling = setTimeout(refresh, after);
};
const pace = () => document.hidden ? 4 * POLL : state.stages[0]?.state === "now" || state.live ? POLL : 2 * POLL;
const taken = (answer) => {
  lost = 0;
  if (answer.pill) dispatchEvent(new CustomEvent("pz-pill", { detail: answer.pill }));
  if (answer.refused) news(answer.refused);
  if (answer.blocks && answer.at >= state.at) {  // what was asked earlier may be answered later
    const ended = state.running && !answer.running && !starting;
    if (answer.running) opened = null;
    state = answer;
    draw();
    if (ended && state.ended === "cancelled") news(say("stopped"));
    if (ended || (!answer.running && answer.at !== kept)) keep();
  }
  again(pace());
  return answer;
};
const ask = async (what) => {
  await ready;
  presses += 1;
  sure = false;
  news("");
  const mine = key;
  try {
    const answer = await server.writing_do({ ...about(), ...what });
    return mine === key ? taken(answer) : { refused: true };
  } catch { news(say("lost")); again(pace()); return { refused: true } }
};
const refresh = async () => {
  if (!key) return;
  const before = presses;
  try {
    const answer = await server.writing_now(about());
    if (before === presses) taken(answer);  // else a press was made meanwhile, and its answer is newer
    else again(pace());
  } catch { again(POLL * 2 ** Math.min(6, ++lost)) }  // the server may be busy, or gone: it is asked less and less often
};
const once = (what) => ask({ at: -1, ...what });
// Work, one at a time. `soon`: the page shows it before the server answers.
const run = (what, soon = false) => {
  if (state.running || starting) return Promise.resolve({ refused: true });
  if (soon) {
    opened = null;
    state = { ...state, running: true, error: null };
    zone.dataset.short = "";  // on a phone the article is what is to be seen now
  }
  starting = once(what).then((told) => {
    if (soon && !told.blocks) state = { ...state, running: false };
    return told;
  }).finally(() => { starting = null; draw() });
  if (soon) {
    draw();
    if (matchMedia("(max-width:768px)").matches) requestAnimationFrame(() => $(".pz-work").scrollIntoView({ block: "start" }));
  }
  return starting;
};
const stop = async () => {
  await starting;
  await ask({ do: "stop" });
};
let sure = false;
const anew = async () => {
  if (!sure) { news(say("new_sure")); sure = true; return }
  const told = await once({ do: "new" });
  if (!told.new_key) return;
  key = told.new_key;
  state = NOTHING;
  opened = null;
  drawn.clear();
  Object.assign(form, { instruction: "", materials: "" });
  delete zone.dataset.short;
  drawForm();
  draw();
  keep();
  await choices();
  $("#writing-instruction").focus();
};

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
  const list = [...files].slice(0, 60), refused = new Set();
  news("");
  for (const [at, file] of list.entries()) {
    if (list.length > 1) news(say("adding", { done: at + 1, total: list.length }));
    const told = await send(file);
    if (told.refused === true) return;
    if (told.refused) refused.add(told.refused);
  }
  if (list.length > 1 || refused.size) news([...refused].slice(0, 3).join("\n"));
};
const FITS = /\.(png|jpe?g|jfif|gif|webp|avif|heic|bmp|tiff?|svg|txt|text|md|markdown|csv)$/i;
const bringFolder = (files) => {
  const fit = [...files].filter((file) => FITS.test(file.name) && !file.name.startsWith("."));
  if (fit.length) return bring(fit);
  news(say("folder_empty"));
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
    const missing = Number(answer.headers.get("x-missing-pictures"));
    news(missing ? say("missing_pictures", { n: missing }) : "");
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
