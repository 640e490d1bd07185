// ---- the form: what is to be written, with what -------------------------------------------------------------------------------------

const form = { instruction: "", language: "", pictures: null, tone: "", length: "", outline: false, materials: "", seed: null, model: "", eyes: "",
  painter: "", sources: null };
const zone = $(".pz-writing");
const pickFolder = make("input", { type: "file", multiple: true, hidden: true, webkitdirectory: true });
zone.append(pickFolder);
let offers = null;
const set = (name, value) => { form[name] = value; keep(800) };

const field = (name, control, hint) =>
  make("label", { class: "pz-field" }, make("span", { text: say(name) }), control, hint && make("small", { text: hint }));
const segments = (name, values) => make("fieldset", { class: "pz-field" }, make("legend", { text: say(name) }),
  make("div", { class: "pz-segments" }, ...values.map((value) => make("label", {},
    make("input", { type: "radio", name: `writing-${name}`, value, checked: form[name] === value, on: { change: () => set(name, value) } }),
    make("span", { text: say(`${name}_${value || "any"}`) })))));
const select = (name, options) => {
  const chosen = options.some(([value]) => value === form[name]) ? form[name] : options[0]?.[0] ?? "";
  return make("select", { id: `writing-${name}`, on: { change: (event) => { set(name, event.target.value); name === "painter" ? choices() : refresh() } } },
    ...options.map(([value, words]) => make("option", { value, text: words, selected: value === chosen })));
};
const area = (name, rows) => make("textarea", { id: `writing-${name}`, rows, placeholder: say(`${name}_hint`), on: { input: (event) => {
  set(name, event.target.value);
  if (name === "instruction") buttons();
} } });

const count = (name, most, hint) => {
  const number = (text) => text === "" || !Number.isFinite(Number(text)) ? null : Math.min(most, Math.max(0, Math.round(Number(text))));
  return make("input", { type: "number", id: `writing-${name}`, min: 0, max: most, step: 1, placeholder: say(hint), value: form[name] ?? "", on: {
    input: (event) => set(name, number(event.target.value)),
    change: (event) => { event.target.value = form[name] ?? "" } } });
};
const fold = (words, open, ...children) => make("details", { class: "pz-extra", open, on: { toggle: (event) => {
  const one = event.target;  // what a hand opened comes into view, what was open from the start does not move the page
  if (one.open && (one.matches(":hover") || one.contains(document.activeElement))) one.scrollIntoView({ block: "nearest" });
} } }, make("summary", { text: words }), ...children);
const drawForm = () => {
  const instruction = area("instruction", 4), materials = area("materials", 3);
  instruction.value = form.instruction;
  materials.value = form.materials;
  instruction.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); start() }
  });
  const tone = make("input", { type: "text", id: "writing-tone", placeholder: say("tone_hint"), maxlength: 200, value: form.tone,
    on: { input: (event) => set("tone", event.target.value) } });
  const outline = make("label", { class: "pz-check" }, make("input", { type: "checkbox", id: "writing-outline", checked: form.outline,
    on: { change: (event) => set("outline", event.target.checked) } }), make("span", { text: say("outline_first") }));
  $(".pz-brief").replaceChildren(
    field("instruction", instruction),
    make("div", { class: "pz-examples-line" }),
    field("pictures", count("pictures", 50, "pictures_auto")),
    make("fieldset", { class: "pz-field pz-sources" }, make("legend", { text: say("sources") })),
    make("div", { class: "pz-field" }, make("span", { text: say("own") }), make("div", { class: "pz-own" }),
      make("div", { class: "pz-row" }, button("add", choose), button("add_folder", () => { pickFolder.value = ""; pickFolder.click() }, "pz-quiet")),
      make("small", { text: say("own_hint") })),
    fold(say("more"), Boolean(form.tone || form.length || form.materials || form.outline || form.language), segments("length", ["", "short", "medium", "long"]), segments("language", ["", "zh", "en"]),
      field("tone", tone), outline, field("materials", materials)),
    fold(say("models"), false, make("div", { class: "pz-model-fields" }), field("seed", count("seed", 2 ** 32 - 1, "seed_hint"))),
    make("div", { class: "pz-buttons" }),
  );
  for (const part of ["buttons", "own"]) seen.delete(part);
  drawOwn();
  buttons();
  if (offers) offered(offers);
};
const offered = (told) => {
  offers = told;
  if (!told.models.some((one) => one.id === form.model)) form.model = told.start;
  const models = (list) => list.map((one) => [one.id, one.words]);
  $(".pz-model-fields").replaceChildren(
    field("model", select("model", models(told.models))),
    field("eyes", select("eyes", [["", say("eyes_same")], ...models(told.eyes)]), say("eyes_hint")),
    told.painters.length ? field("painter", select("painter", [["", say("painter_none")], ...models(told.painters)])) : "",
  );
  const chosen = () => form.sources ?? told.default_sources;
  const out = told.sources.filter((one) => one.lacks && one.id !== "own"), was = $(".pz-sources details")?.open;
  const box = (one) => make("label", { class: "pz-check", title: one.lacks || undefined }, make("input", {
    type: "checkbox", value: one.id, checked: !one.lacks && chosen().includes(one.id), disabled: Boolean(one.lacks), on: { change: (event) => {
      const rest = chosen().filter((id) => id !== one.id);
      set("sources", event.target.checked ? [...rest, one.id] : rest);
    } } }), make("span", {}, one.name, one.lacks && make("small", { text: one.lacks })));
  $(".pz-sources").replaceChildren(make("legend", { text: say("sources") }), ...told.sources.filter((one) => !out.includes(one)).map(box),
    out.length ? fold(say("not_available", { n: out.length }), was, ...out.map(box)) : "");
  buttons();
};
let owned = 0;
const drawOwn = () => {
  if (Boolean(owned) !== Boolean(state.own.length) && offers) choices();  // they are a source as soon as there are some
  owned = state.own.length;
  const box = $(".pz-own");
  if (!box || !changed("own", key, state.own, state.materials)) return;
  const at = [...box.querySelectorAll("button")].indexOf(document.activeElement), held = document.activeElement.ariaLabel;
  const remove = (name, words) => make("button", { type: "button", class: "pz-remove", "aria-label": say("leave_out", { name: words }),
    title: say("leave_out", { name: words }), text: "×", on: { click: () => ask({ do: "leave_out", name }) } });
  box.replaceChildren(
    ...state.own.map((one) => make("span", { class: "pz-mine" }, make("img", { src: small(one.id), alt: one.name, title: one.name }), remove(one.id, one.name))),
    ...state.materials.map((one) => make("span", { class: "pz-text" }, make("b", { text: one.name, title: one.name }),
      make("span", { text: say("words", { n: one.length.toLocaleString() }) }), remove(one.name, one.name))),
  );
  const left = [...box.querySelectorAll("button")];
  if (at >= 0) (left.find((one) => one.ariaLabel === held) ?? left[Math.min(at, left.length - 1)] ?? box.nextElementSibling.querySelector("button")).focus();
};

const start = () => {
  if (state.running || starting) return;
  if (!form.instruction.trim()) { news(say("empty")); $("#writing-instruction").focus(); return }
  run({ do: "write", form }, true);
  keep();
};
const goOn = () => run({ do: "go_on", form }, true);
const choose = () => { pick.value = ""; pick.click() };
const button = (words, act, kind = "", disabled = false) =>
  make("button", { type: "button", class: `pz-button ${kind}`, text: say(words), disabled, on: { click: act } });
const buttons = () => {
  const row = $(".pz-buttons"), short = "short" in zone.dataset;
  if (!row || !changed("buttons", state.running, state.resume, state.blocks.length > 0, short)) return;
  const held = row.contains(document.activeElement);
  const write = button(state.blocks.length ? "write_anew" : "write", start, state.resume ? "" : "pz-primary");
  const shown = state.running ? [button("stop", stop, "pz-stop")] : [state.resume && button("go_on", goOn, "pz-primary"), write,
    short && button("settings", () => { delete zone.dataset.short; buttons(); $("#writing-instruction").focus() }, "pz-quiet pz-unfold")];
  row.replaceChildren(...shown.filter(Boolean));
  if (held) row.firstElementChild.focus({ preventScroll: true });
};
const drawExamples = () => {
  $(".pz-start").hidden = state.blocks.length > 0 || state.running || Boolean(state.outline);
  if ($(".pz-start").childElementCount) return;
  $(".pz-start").append(make("h1", { text: say("hero") }), make("p", { text: say("hero_line") }), make("div", { class: "pz-examples" },
    ...[1, 2, 3, 4].map((n) => make("button", { type: "button", class: "pz-example", text: say(`example_${n}`), on: { click: () => {
      set("instruction", say(`example_${n}`));
      $("#writing-instruction").value = form.instruction;
      buttons();
      $("#writing-instruction").focus();
    } } }))), button("open", choose, "pz-quiet"));
};
pickFolder.addEventListener("change", () => bringFolder(pickFolder.files));
pick.addEventListener("change", () => { bring(pick.files).then(() => { pick.value = "" }) });
for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  event.preventDefault();
  zone.classList.add("pz-dropping");
});
zone.addEventListener("dragleave", (event) => { if (!zone.contains(event.relatedTarget)) zone.classList.remove("pz-dropping") });
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("pz-dropping");
  bring(event.dataTransfer?.files ?? []);
});
