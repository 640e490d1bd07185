// ---- the form: what is to be written, with what -------------------------------------------------------------------------------------

const form = { instruction: "", language: "", pictures: null, tone: "", length: "", outline: false, materials: "", seed: null, model: "", eyes: "",
  painter: "", sources: null };
const zone = $(".pz-writing");
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

const drawForm = () => {
  const instruction = area("instruction", 4), materials = area("materials", 3);
  instruction.value = form.instruction;
  materials.value = form.materials;
  instruction.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); start() }
  });
  const pictures = make("input", { type: "number", id: "writing-pictures", min: 0, max: 50, placeholder: say("pictures_auto"), value: form.pictures ?? "",
    on: { input: (event) => set("pictures", event.target.value === "" ? null : Number(event.target.value)) } });
  const tone = make("input", { type: "text", id: "writing-tone", placeholder: say("tone_hint"), maxlength: 200, value: form.tone,
    on: { input: (event) => set("tone", event.target.value) } });
  const seed = make("input", { type: "number", id: "writing-seed", min: 0, placeholder: say("seed_hint"), value: form.seed ?? "",
    on: { input: (event) => set("seed", event.target.value === "" ? null : Number(event.target.value)) } });
  const outline = make("label", { class: "pz-check" }, make("input", { type: "checkbox", id: "writing-outline", checked: form.outline,
    on: { change: (event) => set("outline", event.target.checked) } }), make("span", { text: say("outline_first") }));
  $(".pz-brief").replaceChildren(
    field("instruction", instruction),
    make("div", { class: "pz-examples-line" }),
    field("pictures", pictures),
    make("fieldset", { class: "pz-field pz-sources" }, make("legend", { text: say("sources") })),
    make("div", { class: "pz-field" }, make("span", { text: say("own") }), make("div", { class: "pz-own" }),
      make("button", { type: "button", class: "pz-button", text: say("add"), on: { click: () => pick.click() } }),
      make("small", { text: say("own_hint") })),
    make("details", { class: "pz-extra", open: Boolean(form.tone || form.length || form.materials || form.outline || form.language) },
      make("summary", { text: say("more") }), segments("length", ["", "short", "medium", "long"]), segments("language", ["", "zh", "en"]),
      field("tone", tone), outline, field("materials", materials)),
    make("details", { class: "pz-extra" }, make("summary", { text: say("models") }), make("div", { class: "pz-model-fields" }), field("seed", seed)),
    make("div", { class: "pz-buttons" }),
  );
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
  const boxes = told.sources.map((one) => make("label", { class: "pz-check", title: one.lacks || undefined }, make("input", {
    type: "checkbox", value: one.id, checked: !one.lacks && chosen().includes(one.id), disabled: Boolean(one.lacks), on: { change: (event) => {
      const rest = chosen().filter((id) => id !== one.id);
      set("sources", event.target.checked ? [...rest, one.id] : rest);
    } } }), make("span", {}, one.name, one.lacks && make("small", { text: one.lacks }))));
  $(".pz-sources").replaceChildren(make("legend", { text: say("sources") }), ...boxes);
  buttons();
};
let owned = 0;
const drawOwn = () => {
  if (Boolean(owned) !== Boolean(state.own.length) && offers) choices();  // they are a source as soon as there are some
  owned = state.own.length;
  const remove = (name, words) => make("button", { type: "button", class: "pz-remove", "aria-label": `${say("remove")} ${words}`, title: say("remove"),
    text: "×", on: { click: () => ask({ do: "leave_out", name }) } });
  $(".pz-own")?.replaceChildren(
    ...state.own.map((one) => make("span", { class: "pz-mine" }, make("img", { src: small(one.id), alt: one.name, title: one.name }), remove(one.id, one.name))),
    ...state.materials.map((one) => make("span", { class: "pz-text" }, make("b", { text: one.name }), ` ${say("words", { n: one.length.toLocaleString() })}`, remove(one.name, one.name))),
  );
};

const empty = () => !form.instruction.trim();
const start = () => {
  if (state.running) return;
  if (empty()) { news(say("empty")); $("#writing-instruction").focus(); return }
  opened = null;
  zone.dataset.short = "";  // on a phone the article is what is to be seen now
  if (matchMedia("(max-width:768px)").matches) $(".pz-work").scrollIntoView({ block: "start" });
  once({ do: "write", form });
  keep();
};
const button = (words, act, kind = "", disabled = false) =>
  make("button", { type: "button", class: `pz-button ${kind}`, text: say(words), disabled, on: { click: act } });
const buttons = () => {
  const row = $(".pz-buttons");
  if (!row) return;
  const written = state.blocks.length > 0;
  const shown = state.running
    ? [button("stop", () => ask({ do: "stop" }), "pz-stop")]
    : [button(written ? "write_anew" : "write", start, "pz-primary"), state.resume && button("go_on", () => once({ do: "go_on" })),
      button("open", () => { pick.value = ""; pick.click() }, "pz-quiet"),
      "short" in zone.dataset && button("settings", () => { delete zone.dataset.short; buttons() }, "pz-quiet pz-unfold")];
  row.replaceChildren(...shown.filter(Boolean));
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
    } } }))));
};
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
