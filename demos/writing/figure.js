// ---- pictures in their places ------------------------------------------------------------------------------------------------------------

const source = (id) => `puyu/writing/${key}/${id}`, small = (id) => `${source(id)}?small`;
const credit = (parts) => make("small", { class: "pz-credit" }, ...parts.flatMap(([text, link], at) => [at ? " · " : "",
  /^https?:\/\//.test(link) ? make("a", { href: link, target: "_blank", rel: "noopener noreferrer nofollow", text }) : text]).filter(Boolean));
const view = (block) => {
  if (block.shown) return make("img", { src: source(block.shown), alt: block.alt, width: block.size[0], height: block.size[1] });
  const words = block.pending ? say(`pending_${block.pending}`) : block.failed || say("no_picture");
  return make("div", { class: "pz-missing", "data-pending": Boolean(block.pending) }, make("span", { text: words }),
    !block.pending && !state.running && button("choose", () => open(block.key)));
};
const thumbs = (block) => make("div", { class: "pz-offer", role: "group", "aria-label": say("candidates") }, ...block.candidates.map((one, at) =>
  make("button", { type: "button", class: "pz-candidate", "aria-pressed": String(one.id === block.shown), disabled: state.running, title: one.title,
    "aria-label": `${at + 1} ${one.title}`, on: { click: () => ask({ do: "swap", id: block.key, picture: one.id }) } },
    make("img", { src: small(one.id), alt: "", loading: "lazy" }))));
const figure = (block) => {
  const mine = opened?.key === block.key && !state.running;
  const act = (words, what, kind = "pz-quiet") => button(words, () => ask({ ...what, id: block.key }), kind, state.running);
  return make("figure", { class: "pz-block pz-figure", "data-key": block.key, "data-open": mine }, view(block),
    make("figcaption", {}, make("span", { class: "pz-said", text: block.caption }), credit(block.credit)),
    !state.running && make("div", { class: "pz-figure-row" }, block.candidates.length > 1 ? thumbs(block) : "",
      make("div", { class: "pz-row" }, button("more_pictures", () => once({ do: "again", stage: block.caption ? "candidates" : "captions", id: block.key, form }), "pz-quiet"),
        button("upload", () => replace(block), "pz-quiet"), button("edit", () => open(block.key), "pz-quiet"),
        block.shown ? act("remove", { do: "clear" }) : "", act("delete", { do: "delete_picture" }))),
    mine && figurePanel(block));
};
const figurePanel = (block) => {
  const line = (name, value) => {
    const control = make("input", { type: "text", maxlength: 2000 });
    control.value = value;
    return [control, make("label", { class: "pz-field" }, make("span", { text: say(name) }), control)];
  };
  const [caption, captionField] = line("caption", block.caption), [alt, altField] = line("alt", block.alt), [query, queryField] = line("query", block.query);
  const done = (what) => { opened = null; return once({ id: block.key, caption: caption.value, ...what }) };
  return make("div", { class: "pz-panel", on: { keydown: (event) => { if (event.key === "Escape") close(block.key) } } },
    captionField, block.shown && altField, queryField,
    make("div", { class: "pz-row" }, button("save", () => done({ do: "describe", alt: alt.value }), "pz-primary"),
      button("find", () => done({ do: "find", query: query.value, form })), button("up", () => ask({ do: "move_picture", id: block.key, by: -1 }), "pz-quiet"),
      button("down", () => ask({ do: "move_picture", id: block.key, by: 1 }), "pz-quiet"), button("close", () => close(block.key), "pz-quiet")),
    state.own.length && make("div", { class: "pz-offer", role: "group", "aria-label": say("own") }, ...state.own.map((one) => make("button", { type: "button",
      class: "pz-candidate", title: one.name, "aria-label": one.name, on: { click: () => { opened = null; ask({ do: "put", id: block.key, picture: one.id }) } } },
      make("img", { src: small(one.id), alt: "", loading: "lazy" })))));
};
let uploading = 0;
const replace = (block) => { uploading = block.key; pickOne.value = ""; pickOne.click() };
pickOne.addEventListener("change", async () => {
  const [file] = pickOne.files;
  if (!file || !uploading) return;
  const told = await send(file);
  if (told.added) ask({ do: "put", id: uploading, picture: told.added });
});

drawForm();
draw();
hear();
watch("value", hear);
