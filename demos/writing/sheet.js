// ---- stages, outline, toolbar ----------------------------------------------------------------------------------------------------------

const STAGE = { article: "article", places: "places", captions: "captions", pictures: "candidates" };
const drawStages = () => {
  $(".pz-stagebar").hidden = !state.stages.length || (!state.blocks.length && !state.running && !state.outline);
  $(".pz-stagebar").replaceChildren(...state.stages.map((one) => {
    const again = STAGE[one.id], can = again && !state.running && one.state === "done" && one.id !== "article";
    const name = make(can ? "button" : "b", can ? { type: "button", text: say(`stage_${one.id}`), title: say("stage_again"),
      on: { click: () => once({ do: "again", stage: again, form }) } } : { text: say(`stage_${one.id}`) });
    return make("li", { "data-state": one.state, "aria-current": one.state === "now" ? "step" : undefined }, make("i"), name, make("span", { text: one.count }));
  }));
};
const drawWaiting = () => {
  const told = state.waiting, card = $(".pz-wait"), share = told?.total ? Math.min(1, told.done / told.total) : 0;
  card.hidden = !told || Boolean(state.live);  // of one paragraph it is told where that stands
  if (card.hidden) { card.replaceChildren(); return }
  const track = make("div", { class: "pz-track", hidden: !told.total, role: "progressbar" }, make("div"));
  track.firstElementChild.style.transform = `scaleX(${share})`;
  card.replaceChildren(make("div", { class: "pz-card-title", text: told.title }), track, make("div", { class: "pz-detail", text: told.detail }));
};
const drawError = () => {
  const card = $(".pz-work>.pz-error"), told = state.error;
  card.hidden = !told;
  card.replaceChildren(...(told ? [make("div", { class: "pz-card-title", text: told.cause }), make("div", { class: "pz-detail", text: told.remedy }),
    state.resume ? make("button", { type: "button", class: "pz-action", text: say("go_on"), on: { click: () => once({ do: "go_on" }) } }) : "",
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
    button("approve", () => once({ do: "approve", text: text.value }), "pz-primary"), button("outline_again", () => once({ do: "write", form }), "pz-quiet")));
};
const closeMenu = (back) => {
  const menu = $(".pz-export[open]");
  if (menu) { menu.open = false; if (back) menu.firstElementChild.focus() }
};
document.addEventListener("pointerdown", (event) => { if (!event.target.closest?.(".pz-export")) closeMenu() });
$(".pz-toolbar").addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenu(true) });
const FORMATS = ["html", "pdf", "docx", "zip", "json"];
const drawToolbar = () => {
  const bar = $(".pz-toolbar"), versions = state.versions;
  bar.hidden = !state.blocks.length;
  const held = bar.querySelector("details[open]");
  if (held?.contains(document.activeElement)) return;  // not under somebody's hand
  const list = make("select", { class: "pz-versions", "aria-label": say("versions"), disabled: state.running,
    on: { change: (event) => ask({ do: "show", version: Number(event.target.value) }) } },
    ...versions.all.map((name, at) => make("option", { value: at, text: `${at + 1} · ${name}`, selected: at === versions.at })));
  bar.replaceChildren(
    button("undo", () => ask({ do: "show", way: "undo" }), "pz-quiet", !versions.undo || state.running),
    button("redo", () => ask({ do: "show", way: "redo" }), "pz-quiet", !versions.redo || state.running),
    versions.all.length > 1 ? list : "",
    make("details", { class: "pz-export" }, make("summary", { class: "pz-button", text: say("export") }), make("div", { class: "pz-menu" },
      ...FORMATS.map((format) => make("button", { type: "button", text: say(`export_${format}`), on: { click: (event) => {
        closeMenu(true);
        save(format);
      } } })))),
  );
};
const drawTold = () => {
  $(".pz-told").hidden = !state.told.length;
  $(".pz-told").replaceChildren(...state.told.map((text) => make("li", { text })));
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
  const shown = make("div", { class: "pz-passage", tabindex: 0, role: "group", "aria-label": say("paragraph_actions"), on: {
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
    const told = await once({ do: "reword", id: block.key, edit, wish: wish.value, form });
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
      !last && plain("down", { do: "move", by: 1 }), !has && button("illustrate", () => { opened = null; once({ do: "illustrate", id: block.key, form }) }, "pz-quiet"),
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
const drawBlocks = () => {
  const sheet = $(".pz-sheet"), live = state.live;
  remember(document.activeElement);
  sheet.hidden = !state.blocks.length && !(state.running && state.stages.length && !state.outlining);
  sheet.lang = { zh: "zh-CN", en: "en" }[state.language] ?? pz.html;
  const wanted = [];
  for (const block of state.blocks) {
    const mine = opened?.key === block.key ? JSON.stringify(opened) : "";
    const from = JSON.stringify(block) + mine + (state.running ? "r" : "") + (block.kind === "picture" ? state.own.length : "");
    const before = drawn.get(block.key);
    const node = before?.[0] === from ? before[1] : block.kind === "picture" ? figure(block) : passage(block);
    drawn.set(block.key, [from, node]);
    if (live?.key === block.key && live.what === "reword_before") wanted.push(growing(live));
    const made = live?.key === block.key && /rewrite|expand|shorten/.test(live.what);
    if (!made || !live.text) wanted.push(node);
    if (made || (live?.key === block.key && live.what === "reword_after")) wanted.push(growing(live));
  }
  for (const key of [...drawn.keys()]) if (!state.blocks.some((block) => block.key === key)) drawn.delete(key);
  const summary = make("p", { class: "pz-summary", text: state.summary });
  const titled = state.blocks[0]?.kind === "title" ? 1 : 0;
  if (state.summary) wanted.splice(titled, 0, summary);
  const now = [...sheet.children];
  if (now.length !== wanted.length || wanted.some((node, at) => node !== now[at])) {
    wanted.forEach((node, at) => { if (sheet.children[at] !== node) sheet.insertBefore(node, sheet.children[at] ?? null) });
    while (sheet.children.length > wanted.length) sheet.lastElementChild.remove();
  }
  comeBack();
};
const follow = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
const draw = () => {
  const near = state.running && state.stages[0]?.state === "now" && follow();
  element.querySelector(".pz-writing").toggleAttribute("data-working", Boolean(state.running));
  drawStages(); drawWaiting(); drawError(); drawOutline(); drawTold(); drawToolbar(); drawOwn(); drawBlocks(); drawExamples(); buttons();
  if (near) scrollTo({ top: document.documentElement.scrollHeight });
};
