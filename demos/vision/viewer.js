// The pictures beside the vision conversation. Given by Gradio: element, props, watch, server (vision_now, vision_do). Runs in one
// function with incoming.js, which brings pictures in.
// Names, labels and addresses are strangers' words: they are set with textContent and as attributes, never as HTML.
const $ = (selector) => element.querySelector(selector), make = pz.make;
const say = (key, values = {}) => pz.t("vision." + key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const SMALLEST_FRAME = 0.02;  // of a side, below which a drag was a press
const [pick, shoot] = element.querySelectorAll("input[type=file]");
const state = { key: "", count: 0, sent: [], boxes: [], state: "", model: "" };
const waiting = [];  // files that came before the page knew its key and what the server takes
let desk = { draft: [], costs: {}, detail: "auto", pdf: null }, chosen = "", frame = null, busy = 0;
let pages = { of: "", list: [], taken: new Set(), going: false };

// ---- talking to the server ------------------------------------------------------------------------------------------------

const news = (text) => { $(".pz-viewer-news").textContent = text ?? "" };
const about = () => ({ key: state.key, lang: pz.lang, model: state.model, sent: state.sent.map(({ id, detail }) => ({ id, detail })) });
const taken = (answer) => {
  const { error, pages: drawn, shown, ...rest } = answer;
  const before = new Set(desk.draft.map((one) => one.id));
  if (rest.draft) {
    desk = rest;
    const added = desk.draft.filter((one) => !before.has(one.id));
    if (added.length) chosen = added.at(-1).id;
  }
  if (error) news(error);
  if (shown && state.state === "open") hear(shown);
  draw();
  if (rest.draft && waiting.length) add(waiting.splice(0));
  return answer;
};
const ask = async (what) => {
  news("");
  try { return taken(await server.vision_do({ ...about(), ...what })) }
  catch { news(say("lost")); return { error: true } }
};
let asking = false, again = false;
const refresh = async () => {
  if (!state.key) return;
  if (asking) { again = true; return }
  asking = true;
  try { taken(await server.vision_now(about())) } catch { /* what was known stays; the page itself says when the server is gone */ }
  asking = false;
  if (again) { again = false; refresh() }
};

// ---- the chosen picture, its frames ---------------------------------------------------------------------------------------------

// The same picture can be sent again: what has been sent is known by its number, what has not by its content.
const sentMark = (n) => `#${n}`;
const all = () => {
  const last = state.count;
  return [...state.sent.map((one) => ({ ...one, mark: sentMark(one.n) })),
    ...desk.draft.map((one, index) => ({ ...one, n: last + index + 1, draft: true, mark: one.id }))];
};
const source = (one, small) => `puyu/pictures/${state.key}/${one.id}${small ? "?small" : ""}`;
const percent = (value) => `${(value * 100).toFixed(2)}%`;
const place = (node, [left, top, right, bottom]) => {
  Object.assign(node.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
  return node;
};
const crop = async (one, edges, label) => {
  frame = null;
  const answer = await ask({ do: "crop", id: one.id, box: edges, label: [label, say("part_of", { n: one.n })].filter(Boolean).join(" · ") });
  if (answer.error) return;
  await $(".pz-shown img")?.decode().catch(() => {});  // on a phone its height would push away what is brought into sight
  composer()?.focus();
};
const drag = (shown, one) => {
  const at = (event) => {
    const box = shown.getBoundingClientRect(), inside = (value) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  };
  shown.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("button")) return;
    event.preventDefault();
    const [x, y] = at(event), drawn = make("i", { class: "pz-frame pz-drawn" });
    shown.querySelector(".pz-drawn")?.remove();
    shown.append(drawn);
    shown.setPointerCapture(event.pointerId);
    frame = null;
    const move = (next) => {
      const [u, v] = at(next);
      frame = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
      place(drawn, frame);
    };
    const end = () => {
      shown.removeEventListener("pointermove", move);
      if (frame && (frame[2] - frame[0] < SMALLEST_FRAME || frame[3] - frame[1] < SMALLEST_FRAME)) frame = null;
      if (!frame) drawn.remove();
      draw();
    };
    shown.addEventListener("pointermove", move);
    shown.addEventListener("pointerup", end, { once: true });
    shown.addEventListener("pointercancel", end, { once: true });
  });
};
let showing = "";
const stage = (one) => {
  const box = $(".pz-stagebox"), boxes = one ? state.boxes.filter((item) => item.n === one.n) : [];
  const now = JSON.stringify([one?.id, boxes, frame, state.key, pz.lang]);
  if (now === showing) return;
  showing = now;
  if (!one) {
    box.replaceChildren(make("button", { type: "button", class: "pz-drop", on: { click: () => pick.click() } }, make("span", { text: say("drop") })));
    return;
  }
  const shown = make("div", { class: "pz-shown" }, make("img", { src: source(one), alt: one.name || say("picture", { n: one.n }), draggable: "false",
    class: Math.max(one.width, one.height) < 160 ? "pz-tiny" : undefined }),
    ...boxes.map((item) => {
      const label = item.label || say("crop");
      const button = make("button", { type: "button", class: "pz-frame", "aria-label": say("box", { label }), title: say("crop"),
        on: { click: () => crop(one, item.edges, item.label) } }, item.label && make("b", { text: item.label }));
      return place(button, item.edges);
    }),
    frame && place(make("i", { class: "pz-frame pz-drawn" }), frame));
  drag(shown, one);
  box.replaceChildren(shown);
};
const composer = () => document.querySelector("#vision-composer textarea");
const nameIt = (one) => {
  const area = composer();
  if (!area) return;
  pz.write(area, `${area.value}${area.value && !/\s$/.test(area.value) ? " " : ""}#${one.n} `);
  area.focus();
};
const caption = (one) => {
  const line = $(".pz-caption");
  if (!one) return line.replaceChildren();
  const told = [one.name, say("size", { width: one.width, height: one.height }), one.tokens && say("tokens", { n: one.tokens.toLocaleString() })];
  const quiet = (key, act, disabled = false) => make("button", { type: "button", class: "pz-button pz-quiet", disabled, text: say(key), on: { click: act } });
  const at = desk.draft.findIndex((item) => item.id === one.id);
  line.replaceChildren(
    make("p", {}, make("b", { text: `#${one.n}` }), make("span", { text: told.filter(Boolean).join(" · ") })),
    ...(one.notes ?? []).map((text) => make("p", { class: "pz-small", text })),
    make("div", { class: "pz-buttons" },
      frame && make("button", { type: "button", class: "pz-button pz-primary", text: say("crop"), on: { click: () => crop(one, frame, "") } }),
      quiet("name_it", () => nameIt(one)),
      one.draft && desk.draft.length > 1 && quiet("earlier", () => ask({ do: "move", id: one.id, to: at - 1 }), at === 0),
      one.draft && desk.draft.length > 1 && quiet("later", () => ask({ do: "move", id: one.id, to: at + 1 }), at === desk.draft.length - 1),
      one.draft && quiet("remove", () => ask({ do: "remove", id: one.id }))));
};

// ---- thumbnails, adding, detail ---------------------------------------------------------------------------------------------------

let moving = "";
const thumb = (one) => {
  const button = make("button", { type: "button", class: "pz-thumb" + (one.draft ? " pz-thumb-draft" : ""), "aria-pressed": String(one.mark === chosen),
    "aria-label": say("picture", { n: one.n }), title: one.name, draggable: one.draft ? "true" : undefined, "data-mark": one.mark,
    on: { click: () => { chosen = one.mark; frame = null; draw() }, dblclick: () => nameIt(one) } },
    make("img", { src: source(one, true), alt: "", loading: "lazy", draggable: "false" }), make("b", { text: `#${one.n}` }));
  if (!one.draft) return button;
  button.addEventListener("dragstart", (event) => { moving = one.id; event.dataTransfer.setData("text/plain", one.name || `#${one.n}`) });
  button.addEventListener("dragend", () => { moving = "" });
  button.addEventListener("dragover", (event) => { if (moving) event.preventDefault() });
  button.addEventListener("drop", (event) => {
    if (!moving) return;
    event.preventDefault();
    ask({ do: "move", id: moving, to: desk.draft.findIndex((item) => item.id === one.id) });
    moving = "";
  });
  return button;
};
const thumbs = (pictures) => {
  const group = (key, list) => list.length ? [make("h3", { text: say(key) }), make("div", { class: "pz-thumb-grid" }, ...list.map(thumb))] : [];
  const had = document.activeElement?.dataset?.mark;
  $(".pz-thumbs").replaceChildren(...group("sent", pictures.filter((one) => !one.draft)), ...group("next", pictures.filter((one) => one.draft)));
  if (had) $(`.pz-thumb[data-mark="${had}"]`)?.focus();
};
const looks = () => {
  const line = $(".pz-looks"), known = Object.keys(desk.costs ?? {}).length > 0, total = desk.costs?.[desk.detail];
  if (!desk.draft.length) return line.replaceChildren();
  const count = (n) => n.toLocaleString();
  const own = desk.draft.reduce((sum, one) => sum + (one.tokens ?? 0), 0);
  const cost = !known ? say(desk.loaded ? "cost_untold" : "cost_unknown") : own === total ? say("cost", { n: count(own) }) : say("cost_all", { n: count(own), all: count(total) });
  line.replaceChildren(...[
    !desk.one_way && make("fieldset", {}, make("legend", { text: say("detail") }), make("div", { class: "pz-segments" },
      ...["auto", "low", "high"].map((detail) => {
        const input = make("input", { type: "radio", name: "pz-detail", value: detail, on: { change: () => ask({ do: "detail", detail }) } });
        input.checked = detail === desk.detail;
        const tokens = desk.costs?.[detail];
        return make("label", {}, input, make("span", { text: say("detail_" + detail) }), tokens !== undefined && make("small", { text: count(tokens) }));
      }))),
    make("p", { class: "pz-small", text: cost }),
  ].filter(Boolean));
};
const adding = () => {
  const form = make("form", { class: "pz-address", novalidate: true, on: { submit: async (event) => {
    event.preventDefault();
    const input = form.querySelector("input"), button = form.querySelector("button");
    if (!input.value.trim()) return;
    button.disabled = true;
    if (await get(input.value.trim())) input.value = "";
    button.disabled = false;
  } } }, make("input", { class: "pz-input", type: "url", placeholder: say("address"), "aria-label": say("address"), autocomplete: "off", spellcheck: "false" }),
    make("button", { type: "submit", class: "pz-button", text: say("open_address") }));
  $(".pz-adding").replaceChildren(
    make("button", { type: "button", class: "pz-button pz-add-pictures", text: say("add"), on: { click: () => pick.click() } }),
    make("button", { type: "button", class: "pz-button pz-camera", text: say("camera"), on: { click: () => shoot.click() } }), form);
};

const draw = () => {
  const pictures = all();
  let one = pictures.find((item) => item.mark === chosen) ?? pictures.findLast((item) => item.id === chosen);  // which was sent just now
  if (!one) { one = pictures.at(-1); frame = null }
  chosen = one?.mark ?? "";
  element.classList.toggle("pz-none", !pictures.length);
  stage(one);
  caption(one);
  thumbs(pictures);
  picker();
  looks();
};
let told = 0, later = 0;
const hear = (value) => {
  if (!value || value.at <= told) return;  // Gradio tells of an older value again, now and then
  told = value.at;
  const { at, ...rest } = value;
  const newest = rest.boxes?.at(-1);
  if (rest.key !== undefined && rest.key !== state.key) { desk.draft = []; chosen = "" }
  if (newest && JSON.stringify(newest) !== JSON.stringify(state.boxes.at(-1))) chosen = sentMark(newest.n);
  const asked = rest.state === "open" && state.state !== "open";
  Object.assign(state, rest);
  draw();
  if (asked && matchMedia("(max-width:768px)").matches) setTimeout(() => document.querySelector("#vision-column")?.scrollIntoView(), 300);
  clearTimeout(later);
  if (state.state === "open") later = setTimeout(follow, 1500);
};
// While an answer is written the server is asked, too: of two values in one moment Gradio keeps the older one, now and then.
const follow = async () => {
  await refresh();
  if (state.state === "open") later = setTimeout(follow, 1500);
};
const take = () => { const before = told; hear(props.value); if (told !== before) refresh() };
for (const input of [pick, shoot]) input.addEventListener("change", () => { add(input.files); input.value = "" });
$(".pz-viewer").setAttribute("aria-label", say("pictures"));
adding();
draw();
take();
watch("value", take);
