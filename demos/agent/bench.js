// The workbench beside the agent's conversation. Given by Gradio: element, props, watch, trigger, server (bench_now, bench_do).
// Names, results, prompts and files are strangers' words: they are set with textContent and as attributes, never as HTML.
const $ = (selector, from = element) => from.querySelector(selector), make = pz.make;
const say = (key, values = {}) => pz.t("agent." + key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const TABS = ["tools", "files", "prompt", "walk"], RULES = ["always", "ask", "never"];
const body = $(".pz-bench-body"), list = $(".pz-bench-tabs");
const state = { tab: "tools", visitor: "", rules: {}, on: [], steps: [], why: [], walk: [], files: 0 };
const forms = new Map();  // tool -> {forms, values, result, going}
let now = null, opened = "", asking = false, again = false;

// ---- talking to the server ------------------------------------------------------------------------------------------------

const ask = async (what) => {
  try { return await server.bench_do({ visitor: state.visitor, lang: pz.lang, ...what }) }
  catch { return { error: { title: say("lost"), text: say("lost_remedy") } } }
};
const refresh = async () => {
  if (!state.visitor) return;
  if (asking) { again = true; return }
  asking = true;
  const before = now;
  try { now = await server.bench_now({ visitor: state.visitor, lang: pz.lang }) }
  catch { /* what was known stays; the page itself says when the server is gone */ }
  asking = false;
  if (again) { again = false; return refresh() }
  if (!now) return;
  if (now.code.state === "unknown") setTimeout(refresh, 1500);
  else if (before?.code.state === "unknown" || !before) trigger("ready", {});
  if (JSON.stringify(before) !== JSON.stringify(now)) draw();
};
const news = (text) => { $(".pz-bench-news").textContent = text };

// ---- tools ----------------------------------------------------------------------------------------------------------------

const tag = (text, tone = "") => make("span", { class: "pz-tag" + (tone && ` pz-tag-${tone}`), text });
const rules = (tool) => {
  const chosen = state.rules[tool.name] ?? "always";
  const pick = make("select", { class: "pz-rule", "aria-label": say("rule_of", { tool: tool.title }), "data-tool": tool.name,
    on: { change: (event) => { state.rules[tool.name] = event.target.value; trigger("rules", { tool: tool.name, rule: event.target.value }) } } },
    ...RULES.map((rule) => make("option", { value: rule, text: say("rule_" + rule) })));
  pick.value = chosen;
  return pick;
};
const input = (field, values) => {
  const set = { name: field.name, class: "pz-input", required: field.required, spellcheck: "false", autocomplete: "off" };
  const keep = (node) => { node.addEventListener("input", () => { values[field.name] = node.type === "checkbox" ? node.checked : node.value }); return node };
  if (field.kind === "choice") {
    const node = make("select", set, ...[...(field.required ? [] : [""]), ...field.options].map((text) => make("option", { value: text, text })));
    node.value = values[field.name];
    return keep(node);
  }
  if (field.kind === "switch") return keep(make("input", { ...set, class: "", required: false, type: "checkbox", checked: Boolean(values[field.name]) }));
  const long = field.kind === "code" || field.kind === "json";
  const node = make(long ? "textarea" : "input", { ...set, class: "pz-input" + (long ? " pz-code" : ""), rows: long ? 6 : undefined,
    inputmode: { number: "decimal", integer: "numeric" }[field.kind] });
  node.value = values[field.name];
  return keep(node);
};
const result = (entry) => {
  const value = entry.result;
  if (entry.going) return make("p", { class: "pz-detail pz-waiting", text: say("trying") });
  if (!value) return null;
  if (value.error) return make("div", { class: "pz-tried pz-tried-bad", role: "alert" }, make("b", { text: value.error.title }), make("p", { text: value.error.text }));
  return make("div", { class: "pz-tried" + (value.failed ? " pz-tried-bad" : ""), role: "status" },
    make("p", { class: "pz-small", text: `${say(value.failed ? "failed" : "result")} · ${value.seconds}` }), make("pre", { text: value.text }),
    ...value.images.map((data) => make("img", { src: data, alt: say("picture") })));
};
const tryIt = async (tool, form, entry) => {
  entry.going = true;
  entry.result = null;
  draw();
  entry.result = await ask({ do: "try", tool: tool.name, form: form.name, values: entry.values[form.name] });
  entry.going = false;
  draw();
  refresh();
};
const panel = (tool) => {
  const entry = forms.get(tool.name);
  if (!entry) return make("p", { class: "pz-detail pz-waiting", text: say("loading_form") });
  if (entry.error) return result({ result: entry });
  return make("div", { class: "pz-try" }, ...entry.forms.map((form) => make("form", { novalidate: true,
    on: { submit: (event) => { event.preventDefault(); if (!entry.going) tryIt(tool, form, entry) } } },
    entry.forms.length > 1 && make("b", { text: form.name }),
    ...form.fields.map((field) => make("label", {}, make("span", {}, document.createTextNode(field.name),
      field.description && make("i", { text: field.description })), input(field, entry.values[form.name]))),
    make("div", { class: "pz-buttons" }, make("button", { type: "submit", class: "pz-button", disabled: entry.going, text: pz.t("tools.run") }),
      entry.going && make("button", { type: "button", class: "pz-button pz-quiet", text: pz.t("chat.stop"), on: { click: () => ask({ do: "stop" }) } })))),
    result(entry));
};
const openForm = async (tool) => {
  opened = opened === tool.name ? "" : tool.name;
  draw();
  if (opened !== tool.name || (forms.has(tool.name) && !forms.get(tool.name).error)) return;
  forms.delete(tool.name);
  const answer = await ask({ do: "form", tool: tool.name });
  const values = Object.fromEntries((answer.forms ?? []).map((form) => [form.name, Object.fromEntries(form.fields.map((field) => [field.name, field.default ?? ""]))]));
  forms.set(tool.name, { ...answer, values });
  draw();
};
const tone = { on: "jade", unsafe: "rouge", off: "ochre", unknown: "" };
const tools = () => [
  make("div", { class: "pz-code-state" }, tag(say("code_" + now.code.state + "_tag"), tone[now.code.state]),
    make("span", { text: now.code.text, title: now.code.remedy })),
  now.code.state === "off" && now.code.remedy && make("p", { class: "pz-small", text: now.code.remedy }),
  ...now.tools.map((tool) => make("section", { class: "pz-tool", "data-tool": tool.name },
    make("div", { class: "pz-tool-head" }, make("h3", { text: tool.title }), rules(tool)),
    make("p", { class: "pz-detail", text: tool.about }),
    make("div", { class: "pz-tool-foot" }, ...[...tool.touches, tool.own].filter(Boolean).map((text) => tag(text)),
      make("button", { type: "button", class: "pz-button pz-quiet", text: pz.t("tools.try_it"), "aria-expanded": String(opened === tool.name),
        "aria-label": say("try_of", { tool: tool.title }), "data-key": "try " + tool.name, on: { click: () => openForm(tool) } })),
    opened === tool.name && panel(tool))),
];

// ---- files and variables ---------------------------------------------------------------------------------------------------

const download = async (file) => {
  const answer = await ask({ do: "file", name: file.name });
  if (answer.error) return news(`${answer.error.title} ${answer.error.text}`);
  const bytes = Uint8Array.from(atob(answer.data), (letter) => letter.charCodeAt(0));
  const link = document.createElement("a"), url = URL.createObjectURL(new Blob([bytes]));
  Object.assign(link, { href: url, download: answer.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
const restart = async () => {
  const answer = await ask({ do: "restart" });
  news(answer.error ? `${answer.error.title} ${answer.error.text}` : answer.said);
  refresh();
};
const files = () => [
  make("h3", { text: say("work_folder") }),
  now.files.length ? make("ul", { class: "pz-files" }, ...now.files.map((file) => make("li", {}, make("span", { text: file.name }),
    make("span", { class: "pz-small", text: file.size }), make("button", { type: "button", class: "pz-button pz-quiet", text: say("download"),
      "aria-label": say("download_of", { file: file.name }), on: { click: () => download(file) } }))))
    : make("p", { class: "pz-detail", text: say("no_files") }),
  ...(now.code.state === "on" || now.code.state === "unsafe" ? [
    make("div", { class: "pz-tool-head" }, make("h3", { text: say("variables") }),
      make("button", { type: "button", class: "pz-button pz-quiet", text: say("restart"), on: { click: restart } })),
    now.variables.length ? make("table", { class: "pz-variables" }, make("tbody", {}, ...now.variables.map((variable) => make("tr", {},
      make("th", { scope: "row", text: variable.name }), make("td", { text: variable.type }), make("td", { text: variable.preview })))))
      : make("p", { class: "pz-detail", text: say("no_variables") })] : []),
];

// ---- what the model read, and function calling in four steps -----------------------------------------------------------------

const folded = (title, text, open) => make("details", { open }, make("summary", { text: title }), make("pre", { text, tabindex: "0" }));
const prompt = () => state.steps.length || state.why.length ? [
  make("h3", { text: say("why") }), ...state.why.map((text) => make("p", { class: "pz-detail", text })),
  ...state.steps.flatMap((step, index) => [
    make("h3", { text: say("step", { n: step.step }) }),
    make("p", { class: "pz-small", text: step.offered.length ? say("offered", { tools: step.offered.join(", ") }) : say("offered_none") }),
    folded(say("prompt_text"), step.prompt, false), folded(say("raw_answer"), step.answer || say("wrote_nothing"), index === state.steps.length - 1)]),
] : [make("p", { class: "pz-detail", text: say("no_run") })];
const walk = () => state.walk.length
  ? [make("p", { class: "pz-detail", text: say("walk_about") }), ...state.walk.map((step) => folded(step.title, step.text, true))]
  : [make("p", { class: "pz-detail", text: say("no_walk") })];

// ---- drawing --------------------------------------------------------------------------------------------------------------

const views = { tools, files, prompt, walk };
const draw = () => {
  const had = document.activeElement, name = body.contains(had) && (had.name || had.dataset.key), at = body.scrollTop;
  const seen = [...body.querySelectorAll("details")].map((item) => item.open);
  if (!now) { body.replaceChildren(make("p", { class: "pz-detail pz-waiting", text: say("loading") })); return }
  body.replaceChildren(...views[state.tab]().filter(Boolean));
  if (state.drawn === state.tab) [...body.querySelectorAll("details")].forEach((item, index) => { if (seen[index] !== undefined) item.open = seen[index] });
  state.drawn = state.tab;
  body.scrollTop = at;
  if (name) [...body.querySelectorAll("input, textarea, select, button")].find((item) => (item.name || item.dataset.key) === name)?.focus();
};
const choose = (tab, focus) => {
  state.tab = tab;
  list.querySelectorAll("button").forEach((button) => {
    const on = button.dataset.tab === tab;
    button.setAttribute("aria-selected", String(on));
    button.tabIndex = on ? 0 : -1;
    if (on && focus) button.focus();
  });
  body.setAttribute("aria-label", say("tab_" + tab));
  draw();
  body.scrollTop = 0;
  if (tab === "files") refresh();
};

pz.fill(element);
list.setAttribute("aria-label", say("bench"));
list.append(...TABS.map((tab) => make("button", { type: "button", role: "tab", "data-tab": tab, text: say("tab_" + tab), on: { click: () => choose(tab) } })));
list.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) choose(TABS[(TABS.indexOf(state.tab) + step + TABS.length) % TABS.length], true);
});
pz.bench = (tab) => {
  const html = document.documentElement, open = html.dataset.bench !== "open" || Boolean(tab);
  html.dataset.bench = open ? "open" : "";
  if (tab) choose(tab);
  if (open) refresh();
};
$(".pz-bench-close").addEventListener("click", () => pz.bench());
let taken = "";
const take = () => {
  const value = props.value, key = JSON.stringify(value);
  if (!value || key === taken) return;  // Gradio tells of a value again that is the old one, and what was pressed since must stay
  taken = key;
  const { files: at, ...rest } = value;
  Object.assign(state, rest);
  if (at && at !== state.files) { state.files = at; refresh() }
  else if ("visitor" in rest) refresh();
  if (["steps", "why", "walk", "rules"].some((key) => key in rest)) draw();
};
choose("tools");
take();
watch("value", take);
