// ---- stages, outline, toolbar ----------------------------------------------------------------------------------------------------------

const STAGE = { article: "article", places: "places", captions: "captions", pictures: "candidates" };
const heard = make("p", { class: "pz-heard", role: "status" });  // for those who listen: each stage as it begins, and the end
zone.append(heard, make("p", { id: "writing-hint", hidden: true, text: say("paragraph_actions") }));
$(".pz-stagebar").setAttribute("aria-label", say("stages"));
$(".pz-toolbar").after($(".pz-told"));
let stage = "";
const speak = () => {
  const now = state.running ? state.stages.find((one) => one.state === "now")?.id ?? stage : "";
  if (now === stage) return;
  heard.textContent = now ? say(`stage_${now}`) : state.ended === "done" ? say("finished") : "";
  stage = now;
};
const drawStages = () => {
  const bar = $(".pz-stagebar");
  if (!changed("stages", state.stages, state.running, state.blocks.length > 0, Boolean(state.outline))) return;
  const held = bar.contains(document.activeElement);
  bar.hidden = !state.stages.length || (!state.blocks.length && !state.running && !state.outline);
  bar.replaceChildren(...state.stages.map((one) => {
    const again = STAGE[one.id], can = again && !state.running && one.state === "done" && one.id !== "article";
    const name = make(can ? "button" : "b", can ? { type: "button", text: say(`stage_${one.id}`), title: say("stage_again"),
      "aria-label": say("stage_again_of", { name: say(`stage_${one.id}`) }), on: { click: () => run({ do: "again", stage: again, form }, true) },
    } : { text: say(`stage_${one.id}`) });
    return make("li", { "data-state": one.state, "aria-current": one.state === "now" ? "step" : undefined }, make("i"), name, make("span", { text: one.count }));
  }));
  if (held) handOn = true;
};
let handOn = false;  // the hand was on a stage: it goes to Stop
const drawWaiting = () => {
  const told = state.waiting, card = $(".pz-wait"), share = told?.total ? Math.min(1, told.done / told.total) : 0;
  card.hidden = !told || Boolean(state.live);  // of one paragraph it is told where that stands
  if (card.hidden) { card.replaceChildren(); return }
  if (!card.childElementCount) card.append(make("div", { class: "pz-card-title" }),
    make("div", { class: "pz-track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, make("div")), make("div", { class: "pz-detail" }));
  const [title, track, detail] = card.children;
  title.textContent = told.title;
  detail.textContent = told.detail;
  track.hidden = !told.total;
  track.setAttribute("aria-label", told.title);
  track.setAttribute("aria-valuenow", Math.round(share * 100));
  track.firstElementChild.style.transform = `scaleX(${share})`;
};
const drawError = () => {
  const card = $(".pz-work>.pz-error"), told = state.error;
  if (!changed("error", told, state.resume)) return;
  card.hidden = !told;
  card.replaceChildren(...(told ? [make("div", { class: "pz-card-title", text: told.cause }), make("div", { class: "pz-detail", text: told.remedy }),
    state.resume ? make("button", { type: "button", class: "pz-action", text: say("go_on"), on: { click: goOn } }) : "",
    told.log ? make("details", {}, make("summary", { text: pz.t("chat.show_log") }), make("pre", { text: told.log })) : ""] : []).filter(Boolean));
};
let outlined = null;
const drawOutline = () => {
  const box = $(".pz-outline"), growing = state.outlining;
  box.hidden = !state.outline && !growing;
  if (growing) { outlined = null; box.replaceChildren(make("h3", { text: say("outline") }), make("pre", { text: growing + "▍" })); return }
  if (outlined === state.outline) return;
  outlined = state.outline;
  if (!state.outline) return;
  const text = make("textarea", { rows: Math.min(16, state.outline.split("\n").length + 2), "aria-label": say("outline") });
  text.value = state.outline;
  box.replaceChildren(make("h3", { text: say("outline") }), make("p", { text: say("outline_hint") }), text, make("div", { class: "pz-row" },
    button("approve", () => run({ do: "approve", text: text.value, form }, true), "pz-primary"), button("outline_again", start, "pz-quiet")));
};
const closeMenu = (back) => {
  const menu = $(".pz-export[open]");
  if (menu) { menu.open = false; if (back) menu.firstElementChild.focus() }
};
document.addEventListener("pointerdown", (event) => { if (!event.target.closest?.(".pz-export")) closeMenu() });
$(".pz-toolbar").addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenu(true) });
const FORMATS = ["html", "pdf", "docx", "zip", "json"];
const step = (way) => button(way, () => ask({ do: "show", way }), "pz-quiet");
const undo = step("undo"), redo = step("redo"), list = make("select", { class: "pz-versions", "aria-label": say("versions"),
  on: { change: (event) => ask({ do: "show", version: Number(event.target.value) }) } });
$(".pz-toolbar").append(undo, redo, list, button("new", anew, "pz-quiet pz-new"), button("open", choose, "pz-quiet pz-open"),
  make("details", { class: "pz-export" }, make("summary", { class: "pz-button", text: say("export") }), make("div", { class: "pz-menu" },
    ...FORMATS.map((format) => make("button", { type: "button", text: say(`export_${format}`), on: { click: () => {
      closeMenu(true);
      save(format);
    } } })))));
const drawToolbar = () => {
  const versions = state.versions;
  $(".pz-toolbar").hidden = !state.blocks.length;
  if (!changed("toolbar", versions, state.running)) return;
  const held = document.activeElement, several = versions.all.length > 1;
  for (const one of [undo, redo, list]) one.hidden = !several;
  $(".pz-new").disabled = $(".pz-open").disabled = list.disabled = Boolean(state.running);
  list.replaceChildren(...versions.all.map((name, at) => make("option", { value: at, text: `${at + 1} · ${name}`, selected: at === versions.at })));
  undo.disabled = !versions.undo || state.running;
  redo.disabled = !versions.redo || state.running;
  if (held === undo && undo.disabled) redo.focus();
  if (held === redo && redo.disabled) undo.focus();
};
const drawTold = () => {
  if (!changed("told", state.told)) return;
  const line = (one) => make("li", { text: one.text }), rules = state.told.filter((one) => !one.failed);
  $(".pz-told").hidden = !state.told.length;
  $(".pz-told").replaceChildren(...state.told.filter((one) => one.failed).map(line), ...(rules.length ? [make("li", { class: "pz-rules" },
    make("details", {}, make("summary", { text: say(rules.length === 1 ? "notes_one" : "notes", { n: rules.length }) }), make("ul", {}, ...rules.map(line))))] : []));
};

// ---- the sheet: every block is drawn anew only where it changed ----------------------------------------------------------------------------

const drawn = new Map();  // key -> [what it was drawn from, element]
let opened = null;  // {key, mode}: the block that is being worked on
const TAGS = new Set(["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "table", "tr", "th", "td", "hr", "br", "s", "em", "strong", "a"]);
const grown = (node) => {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, given, ...children] = node, element = document.createElement(TAGS.has(tag) ? tag : "span");
  if (tag === "a" && /^https?:\/\//.test(given.href)) Object.assign(element, { href: given.href, target: "_blank", rel: "noopener noreferrer nofollow" });
  if (tag === "ol" && given.start !== undefined) element.start = given.start;
  if (tag === "th") element.scope = "col";
  element.append(...children.map(grown));
  return element;
};
const open = (key, mode = "") => {
  if (state.running) { news(say("waits")); return }
  news("");
  opened = opened?.key === key && opened.mode === mode ? null : { key, mode };
  drawBlocks();
  if (opened) element.querySelector(`[data-key="${key}"] .pz-panel :is(textarea,input)`)?.focus();
};
const close = (key) => {
  opened = null;
  drawBlocks();
  element.querySelector(`[data-key="${key}"]>.pz-passage`)?.focus();
};
const leave = (key) => { if (opened?.key === key) { opened = null; drawBlocks() } };
// Where the hand was, when what it was on is drawn anew: the block, how far down it stands, and the words on the control.
let home = null;
document.addEventListener("pointerdown", () => { home = null });
const words = (control) => control.getAttribute("aria-label") || control.textContent;
const remember = (held) => {
  const block = $(".pz-sheet").contains(held) && held.closest("[data-key]");
  if (block) home = { key: block.dataset.key, at: [...$(".pz-sheet").querySelectorAll("[data-key]")].indexOf(block), words: words(held) };
  else if (held !== document.body) home = null;
};
const comeBack = () => {
  if (!home || document.activeElement !== document.body) return;
  const blocks = [...$(".pz-sheet").querySelectorAll("[data-key]")], mine = blocks.find((one) => one.dataset.key === home.key);
  if (!mine && state.running) return;  // it may be on its way
  const controls = [...(mine ?? blocks[Math.min(home.at, blocks.length - 1)])?.querySelectorAll("[tabindex],button:enabled") ?? []];
  (controls.find((one) => mine && words(one) === home.words) ?? controls[0])?.focus({ preventScroll: true });
};
const passage = (block) => {
  const shown = make("div", { class: "pz-passage", tabindex: 0, role: "group", "aria-label": say(`kind_${block.kind}`),
    "aria-describedby": "writing-hint", "aria-disabled": state.running ? "true" : undefined, on: {
    click: (event) => { if (!event.target.closest("a") && !String(getSelection())) open(block.key) },
    keydown: (event) => {
      if (event.target !== event.currentTarget || event.key !== "Enter") return;
      event.preventDefault();
      open(block.key);
    } } }, ...block.nodes.map(grown));
  const mine = opened?.key === block.key && !state.running;
  return make("div", { class: "pz-block", "data-key": block.key, "data-open": mine }, shown, mine && (opened.mode === "edit" ? editor(block) : panel(block)));
};
const panel = (block) => {
  const wish = make("input", { type: "text", placeholder: say("wish"), "aria-label": say("wish"), maxlength: 4000 });
  const reword = (edit) => button(`reword_${edit}`, async () => {
    const told = await run({ do: "reword", id: block.key, edit, wish: wish.value, form });
    if (told.refused) wish.focus(); else leave(block.key);
  });
  const plain = (words, what) => button(words, () => { opened = null; ask({ ...what, id: block.key }) }, "pz-quiet");
  const worded = ["paragraph", "list", "quote"].includes(block.kind);
  const last = state.blocks.filter((one) => one.kind !== "picture").at(-1)?.key === block.key;
  const has = state.blocks.some((one) => one.kind === "picture" && one.after === block.key);
  return make("div", { class: "pz-panel", on: { keydown: (event) => { if (event.key === "Escape") close(block.key) } } },
    worded && make("div", { class: "pz-row" }, wish, reword("rewrite"), reword("expand"), reword("shorten")),
    worded && make("div", { class: "pz-row" }, reword("before"), reword("after")),
    make("div", { class: "pz-row" }, button("edit", () => open(block.key, "edit"), "pz-quiet"), plain("up", { do: "move", by: -1 }),
      !last && plain("down", { do: "move", by: 1 }), !has && button("illustrate", () => run({ do: "illustrate", id: block.key, form }, true), "pz-quiet"),
      plain("delete", { do: "delete" }), button("close", () => close(block.key), "pz-quiet")));
};
const editor = (block) => {
  const text = make("textarea", { rows: Math.min(18, Math.max(3, Math.ceil(block.source.length / 60) + block.source.split("\n").length - 1)), "aria-label": say("edit") });
  text.value = block.source;
  return make("div", { class: "pz-panel", on: { keydown: (event) => { if (event.key === "Escape") close(block.key) } } }, text,
    make("div", { class: "pz-row" }, button("save", () => { opened = null; ask({ do: "rewrite", id: block.key, text: text.value }) }, "pz-primary"),
      button("cancel", () => close(block.key), "pz-quiet")));
};
const growing = (live) => make("div", { class: "pz-block pz-live" }, make("div", { class: "pz-passage" },
  live.text ? make("p", { text: live.text + "▍" }) : make("p", { class: "pz-summary", text: state.waiting?.title || say("thinking") })));
const summary = make("p", { class: "pz-summary" });
const drawBlocks = () => {
  const sheet = $(".pz-sheet"), live = state.live;
  remember(document.activeElement);
  sheet.hidden = !state.blocks.length && !(state.running && state.stages.length && !state.outlining);
  sheet.lang = { zh: "zh-CN", en: "en" }[state.language] ?? pz.html;
  const wanted = [];
  for (const block of state.blocks) {
    const from = [opened?.key === block.key ? `open ${opened.mode}` : "", Boolean(state.running), block.kind, ...(block.kind === "picture"
      ? [JSON.stringify(block), state.own.length] : [block.source, block.nodes[0]?.[0]])];  // a section's nodes come of its source and its level
    const before = drawn.get(block.key);
    const node = before?.[0].length === from.length && from.every((one, at) => one === before[0][at]) ? before[1] : block.kind === "picture" ? figure(block) : passage(block);
    drawn.set(block.key, [from, node]);
    if (live?.key === block.key && live.what === "reword_before") wanted.push(growing(live));
    const made = live?.key === block.key && /rewrite|expand|shorten/.test(live.what);
    if (!made || !live.text) wanted.push(node);
    if (made || (live?.key === block.key && live.what === "reword_after")) wanted.push(growing(live));
  }
  for (const key of [...drawn.keys()]) if (!state.blocks.some((block) => block.key === key)) drawn.delete(key);
  if (summary.textContent !== state.summary) summary.textContent = state.summary ?? "";
  const titled = state.blocks[0]?.kind === "title" ? 1 : 0;
  if (state.summary) wanted.splice(titled, 0, summary);
  const now = [...sheet.children];
  if (now.length !== wanted.length || wanted.some((node, at) => node !== now[at])) {
    wanted.forEach((node, at) => { if (sheet.children[at] !== node) sheet.insertBefore(node, sheet.children[at] ?? null) });
    while (sheet.children.length > wanted.length) sheet.lastElementChild.remove();
  }
  comeBack();
};
// A text that grows is followed as far as its end is seen, and no further than needed; whoever scrolls up reads in peace.
const foot = () => innerHeight - (matchMedia("(max-width:768px)").matches ? 88 : 24), end = () => $(".pz-sheet").getBoundingClientRect().bottom;
const draw = () => {
  const near = state.running && state.stages[0]?.state === "now" && !$(".pz-sheet").hidden && end() <= foot() + 120;
  zone.toggleAttribute("data-working", Boolean(state.running));
  drawStages(); drawWaiting(); drawError(); drawOutline(); drawTold(); drawToolbar(); drawOwn(); drawBlocks(); drawExamples(); buttons(); speak();
  if (handOn) { handOn = false; $(".pz-buttons button")?.focus({ preventScroll: true }) }
  if (near && end() > foot()) scrollBy({ top: end() - foot() });
};
