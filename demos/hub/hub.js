// The page of models in the browser: draws what the server hands out, keeps what this visitor opened, asks for changes.
// Model names and texts of a hub are strangers' words: they are set with textContent and as attributes, never as HTML.
// Given by Gradio: element, server (hub_changed, hub_do). A row is redrawn when its values changed, and only then.
const $ = (selector, from = element) => from.querySelector(selector);
const make = pz.make;
const say = (key, values = {}) => pz.t("hub." + key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

const rows = new Map();      // id -> {node, value, json}
const open = new Map();      // id -> "details" | "plan" | "delete" | "forget"
const failed = new Map();    // id -> an error that this visitor's own press met
const homes = new Map();     // id -> the group a row was first seen in: it stays there until the page is opened anew
const wanted = new Set();    // the chips that are pressed
let page = null, mark = "", token = "";

pz.fill(element);
$(".pz-hub-search").setAttribute("aria-label", say("find"));
$(".pz-hub-search").placeholder = say("find");
$(".pz-hub-chips").setAttribute("aria-label", say("filters"));

// ---- memory --------------------------------------------------------------------------------------------------------------

const bar = (parts, label) => make("div", { class: "pz-bar", role: "img", "aria-label": label },
  ...parts.map((part) => make("div", { class: "pz-bar-" + part.kind, style: `width:${part.share * 100}%`, title: part.text })));
const legend = (parts, free) => make("ul", { class: "pz-legend" },
  ...parts.map((part) => make("li", {}, make("i", { class: "pz-bar-" + part.kind }), make("span", { text: part.text }))),
  free && make("li", {}, make("i", { class: "pz-bar-free" }), make("span", { text: free })));
const memoryBar = (title, value) => [
  make("div", { class: "pz-bar-head" }, make("span", { text: title }), make("span", { text: value.figure })),
  bar(value.parts, [title, value.figure, ...value.parts.map((part) => part.text)].join(", ")),
  legend(value.parts, value.free),
];

const drawMemory = () => {
  const devices = page.devices.map((device) => make("div", { class: "pz-device" }, ...memoryBar(device.name, device),
    device.limit && make("p", { class: "pz-small", text: device.limit })));
  $(".pz-memory").replaceChildren(...devices);
  $(".pz-memory").setAttribute("aria-label", say("memory"));
};

// ---- a row ---------------------------------------------------------------------------------------------------------------

const button = (row, action, look = "") => {
  const node = make("button", { type: "button", class: "pz-button " + look, text: action.text, "data-key": action.do,
    "aria-label": say("of_model", { action: action.text, model: row.id }), on: { click: () => act(row, action.do) } });
  return node;
};
const tag = (value) => make("span", { class: "pz-tag" + (value.tone ? " pz-tag-" + value.tone : ""), text: value.text });
const card = (row, error, retry) => make("div", { class: "pz-card pz-error", role: "alert" },
  make("div", { class: "pz-card-title", text: error.title }), make("div", { class: "pz-detail", text: error.text }),
  error.log && make("details", {}, make("summary", { text: say("log") }), make("pre", { text: error.log })),
  page.may && make("div", { class: "pz-buttons" }, retry && button(row, { do: retry, text: say("retry") }, "pz-primary"),
    button(row, { do: "dismiss", text: say("dismiss") }, "pz-quiet")));

const planPanel = (row) => make("div", { class: "pz-card pz-plan", role: "group", "aria-label": row.plan.title },
  make("div", { class: "pz-card-title", text: row.plan.title }),
  ...row.plan.lines.map((line) => make("p", { class: "pz-detail", text: line })),
  ...(row.plan.fits ? memoryBar(row.plan.after, row.plan) : []),
  make("div", { class: "pz-verdict" }, tag(row.plan.verdict)),
  make("div", { class: "pz-buttons" }, row.plan.fits && button(row, { do: "load", text: say("load") }, "pz-primary"),
    button(row, { do: "close", text: say("cancel") }, "pz-quiet"),
    !row.plan.fits && button(row, { do: "load", text: say("try_anyway") }, "pz-quiet")));  // the refusal says what would fit
const askPanel = (row, what) => make("div", { class: "pz-card pz-ask", role: "group", "aria-label": row.ask[what].title },
  make("div", { class: "pz-card-title", text: row.ask[what].title }),
  ...row.ask[what].lines.map((line) => make("p", { class: "pz-detail", text: line })),
  make("div", { class: "pz-buttons" }, button(row, { do: what, text: row.ask[what].yes }, "pz-primary"),
    button(row, { do: "close", text: say("cancel") }, "pz-quiet")));
const detailsPanel = (row) => make("div", { class: "pz-details" },
  ...(row.note ? [make("p", { class: "pz-detail", text: row.note })] : []),
  make("dl", {}, ...row.details.flatMap(([name, text]) => [make("dt", { text: name }), make("dd", { text })])),
  row.menu.length && make("div", { class: "pz-buttons" }, ...row.menu.filter((action) => !["chat", "vision"].includes(action.do) || pz.tabs.includes(action.do))
    .map((action) => button(row, action, "pz-quiet"))));

const panel = (row) => {
  const which = open.get(row.id);
  if (which === "plan" && row.plan) return planPanel(row);
  if ((which === "delete" || which === "forget") && row.menu.some((action) => action.do === "ask:" + which)) return askPanel(row, which);
  if (which === "plan") open.delete(row.id);  // it is loaded now, or gone: there is nothing to plan
  return open.has(row.id) ? detailsPanel(row) : null;
};

const track = (row) => row.progress && make("div", { class: "pz-job" },
  make("div", { class: "pz-track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": say("progress_of", { model: row.id }) }, make("div")),
  make("div", { class: "pz-job-text" }));
const advance = (node, progress) => {
  const bar = $(".pz-track", node), text = $(".pz-job-text", node);
  if (!bar || !progress) return;
  bar.classList.toggle("pz-unknown", progress.share === null);
  if (progress.share === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", Math.round(progress.share * 100));
  bar.firstElementChild.style.transform = progress.share === null ? "" : `scaleX(${progress.share})`;
  text.textContent = progress.text;
};

const content = (row) => {
  const details = make("button", { type: "button", class: "pz-button pz-quiet pz-more", text: say("details"), "data-key": "details",
    "aria-expanded": String(open.get(row.id) === "details"), "aria-label": say("details_of", { model: row.id }),
    on: { click: () => act(row, "details") } });
  const error = failed.get(row.id) || row.error;
  return [
    make("div", { class: "pz-model-head" },
      make("div", { class: "pz-model-name" }, make("h3", { text: row.id }), make("div", { class: "pz-small", text: row.facts }), track(row)),
      make("div", { class: "pz-model-tags" }, ...row.tags.filter((value) => value.tone !== "none").map(tag)),
      make("div", { class: "pz-model-actions" }, ...row.actions.map((action) => button(row, action)), details)),
    error && card(row, error, failed.has(row.id) ? null : row.retry), panel(row),
  ].filter(Boolean);
};

const draw = (entry) => {
  const { node, value } = entry, had = node.contains(document.activeElement) ? document.activeElement : null;
  const key = had?.dataset.key, logs = [...node.querySelectorAll("details")].map((log) => log.open);
  node.replaceChildren(...content(value));
  node.querySelectorAll("details").forEach((log, i) => { log.open = logs[i] ?? false });
  advance(node, value.progress);
  if (!had) return;
  const same = key && node.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (same || $(".pz-model-actions button", node)).focus({ preventScroll: true });
};
const redraw = (id) => { if (rows.has(id)) draw(rows.get(id)) };

// ---- the list ------------------------------------------------------------------------------------------------------------

const state = (row) => row.tags[0].text;
const place = (row) => {
  if (!homes.has(row.id)) homes.set(row.id, row.group);
  return homes.get(row.id);
};
const drawList = () => {
  const list = $(".pz-hub-groups"), news = [];
  const titles = new Map(page.groups.map((group) => [group.id, group.title]));
  const known = new Map(page.rows.map((row) => [row.id, row]));
  for (const [id, entry] of rows) if (!known.has(id)) { entry.node.remove(); rows.delete(id); homes.delete(id); open.delete(id); failed.delete(id) }
  for (const row of page.rows) {
    const json = JSON.stringify(row);
    let entry = rows.get(row.id);
    if (entry && entry.json === json) continue;
    if (entry && state(entry.value) !== state(row)) news.push(`${row.id}: ${state(row)}`);
    if (!entry) rows.set(row.id, entry = { node: make("article", { class: "pz-model", "data-id": row.id, "aria-label": row.id }) });
    Object.assign(entry, { value: row, json });
    draw(entry);
  }
  const groups = new Map([...page.groups.map((group) => group.id), ...homes.values()].map((id) => [id, []]));
  for (const row of page.rows) groups.get(place(row)).push(rows.get(row.id).node);
  const sections = [...groups].filter(([, nodes]) => nodes.length).map(([id, nodes]) => section(list, id, titles.get(id), nodes));
  for (const old of [...list.children]) if (!sections.includes(old)) old.remove();
  sections.forEach((node, i) => { if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null) });
  if (news.length) $(".pz-hub-news").textContent = news.join(". ");
  filter();
};
const section = (list, id, title, nodes) => {
  const found = [...list.children].find((node) => node.dataset.group === id)
    || make("section", { class: "pz-group-of-models", "data-group": id }, make("h2", { text: title ?? id }));
  nodes.forEach((node, i) => { if (found.children[i + 1] !== node) found.insertBefore(node, found.children[i + 1] ?? null) });
  return found;
};

const filter = () => {
  const words = $(".pz-hub-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { node, value } of rows.values()) {
    const fits = words.every((word) => value.find.includes(word)) && [...wanted].every((chip) => value.filters.includes(chip));
    node.hidden = !fits;
    shown += fits;
  }
  for (const group of $(".pz-hub-groups").children) group.hidden = ![...group.querySelectorAll(".pz-model")].some((node) => !node.hidden);
  const all = !words.length && !wanted.size, count = all ? "" : say("shown", { n: shown, all: rows.size });
  if ($(".pz-hub-count").textContent !== count) $(".pz-hub-count").textContent = count;
  $(".pz-hub-nothing").hidden = shown > 0;
};
const drawChips = () => {
  const chips = $(".pz-hub-chips"), ids = page.chips.map((chip) => chip.id);
  if (chips.dataset.ids === ids.join()) return;
  chips.dataset.ids = ids.join();
  for (const chip of [...wanted]) if (!ids.includes(chip)) wanted.delete(chip);
  chips.replaceChildren(...page.chips.map((chip) => {
    const node = make("button", { type: "button", class: "pz-chip", text: chip.text, "aria-pressed": String(wanted.has(chip.id)), "data-chip": chip.id });
    node.addEventListener("click", () => {
      wanted.has(chip.id) ? wanted.delete(chip.id) : wanted.add(chip.id);
      node.setAttribute("aria-pressed", String(wanted.has(chip.id)));
      filter();
    });
    return node;
  }));
};
$(".pz-hub-search").addEventListener("input", filter);
$(".pz-hub-all").addEventListener("click", () => {
  $(".pz-hub-search").value = "";
  wanted.clear();
  $(".pz-hub-chips").querySelectorAll("button").forEach((chip) => chip.setAttribute("aria-pressed", "false"));
  filter();
  $(".pz-hub-search").focus();
});

// ---- what a press does -----------------------------------------------------------------------------------------------------

const focusIn = (id, key) => rows.get(id)?.node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
const show = (id, which, key) => { which ? open.set(id, which) : open.delete(id); redraw(id); if (key) focusIn(id, key) };
const act = async (row, what) => {
  if (what === "details") return show(row.id, open.get(row.id) === "details" ? null : "details", "details");
  if (what === "plan") return show(row.id, open.get(row.id) === "plan" ? null : "plan", row.plan?.fits ? "load" : "close");
  if (what === "close") {
    const back = { plan: "plan" }[open.get(row.id)] ?? "details";
    return show(row.id, back === "plan" ? null : "details", back);
  }
  if (what.startsWith("ask:")) return show(row.id, what.slice(4), "close");  // the harmless answer has the focus
  if (["chat", "vision"].includes(what)) return pz.askWith(row.id, what);
  if (what === "dismiss" && failed.delete(row.id)) return redraw(row.id);
  failed.delete(row.id);
  if (["load", "delete", "forget"].includes(what)) open.delete(row.id);
  const answer = await ask({ do: what, id: row.id });
  if (answer.error) failed.set(row.id, answer.error);
  redraw(row.id);
};
const ask = async (request) => {
  try {
    const answer = await server.hub_do({ ...request, token, lang: pz.lang });
    if (answer.now) apply(answer.now);
    return answer;
  } catch { return { error: { title: say("failed_other"), text: say("lost"), log: "" } } }
};

// ---- adding ----------------------------------------------------------------------------------------------------------------

const form = $(".pz-add"), field = (name) => form.elements[name];
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!field("ref").value.trim() || form.hasAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  $(".pz-add-said", form).textContent = say("add_busy");
  const chosen = form.querySelector("[name=file]:checked")?.value ?? "";
  const answer = await ask({ do: "add", ref: field("ref").value, source: field("source").value, revision: field("revision").value, file: chosen });
  form.removeAttribute("aria-busy");
  choices(answer.choose);
  if (answer.choose) form.scrollIntoView({ block: "center" });
  $(".pz-add-said", form).textContent = answer.choose ? say("add_choose") : "";
  $(".pz-add-error", form).replaceChildren(...(answer.error ? [make("div", { class: "pz-card pz-error", role: "alert" },
    make("div", { class: "pz-card-title", text: answer.error.title }), make("div", { class: "pz-detail", text: answer.error.text }))] : []));
  if (!answer.id) return;
  form.reset();
  $(".pz-add-said", form).textContent = say("add_done", { model: answer.id });
  $(".pz-hub-all").click();
  show(answer.id, "details");
  rows.get(answer.id)?.node.scrollIntoView({ block: "center" });
  $(".pz-model-actions button", rows.get(answer.id)?.node ?? element)?.focus({ preventScroll: true });
});
const choices = (files = []) => $(".pz-add-files", form).replaceChildren(...files.map((file, i) => make("label", {},
  make("input", { type: "radio", name: "file", value: file.file, checked: i === 0 }), make("span", { text: file.file }), make("span", { class: "pz-small", text: file.text }))));
form.addEventListener("input", (event) => { if (event.target.name !== "file") choices() });

$(".pz-hub-toadd").addEventListener("click", () => {
  form.scrollIntoView({ block: "center" });
  field("ref").focus({ preventScroll: true });
});
const drawAdd = () => {
  form.hidden = $(".pz-hub-toadd").hidden = !page.may;
  if (form.dataset.ready || !page.may) return;
  form.dataset.ready = "yes";
  $(".pz-add-hint", form).textContent = page.add_hint;
  field("revision").placeholder = say("add_revision_hint");
  field("source").replaceChildren(...page.hubs.map((hub) => make("option", { value: hub.id, text: hub.text })));
};

// ---- staying up to date ------------------------------------------------------------------------------------------------------

const older = (now) => {  // an answer that was under way while a later one came
  const [start, ...versions] = now.mark.split("."), [ours, ...had] = mark.split(".");
  return start === ours && versions.some((version, i) => Number(version) < Number(had[i]));
};
const apply = (now) => {
  if (older(now)) return;
  ({ mark, token } = now);
  if (now.page) {
    if (page) pz.modelsChanged();
    page = now.page;
    $(".pz-hub-note").textContent = page.note;
    $(".pz-hub-note").hidden = !page.note;
    drawMemory();
    drawChips();
    drawList();
    drawAdd();
    element.querySelector(".pz-hub").dataset.ready = "yes";
  }
  for (const [id, progress] of Object.entries(now.progress)) if (rows.has(id)) advance(rows.get(id).node, progress);
};
const seen = () => !document.hidden && element.checkVisibility();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const follow = async () => {
  while (element.isConnected) {
    if (!seen()) { await pause(300); continue }  // a page nobody looks at asks for nothing
    try {
      apply(await server.hub_changed({ mark, token, lang: pz.lang }));
      $(".pz-hub-lost").hidden = true;
    } catch {
      $(".pz-hub-lost").hidden = false;
      await pause(2000);
    }
  }
};
follow();
