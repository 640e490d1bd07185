// ---- pictures in their places ------------------------------------------------------------------------------------------------------------

const source = (id) => `puyu/writing/${key}/${id}`, small = (id) => `${source(id)}?small`;
const credit = (parts) => make("small", { class: "pz-credit" }, ...parts.flatMap(([text, link], at) => [at ? " · " : "",
  /^https?:\/\//.test(link) ? make("a", { href: link, target: "_blank", rel: "noopener noreferrer nofollow", text }) : text]).filter(Boolean));
const view = (block) => {
  if (block.shown) return make("img", { src: source(block.shown), alt: block.alt, width: block.size[0], height: block.size[1] });
  const words = block.pending ? say(`pending_${block.pending}`) : block.failed || say("no_picture");
  return make("div", { class: "pz-missing", "data-pending": Boolean(block.pending) }, make("span", { text: words }),
    !block.pending && !state.running && make("div", { class: "pz-row" }, button("upload", () => replace(block)), button("search", () => open(block.key))));
};
const thumbs = (block) => make("div", { class: "pz-offer", role: "group", "aria-label": say("candidates") }, ...block.candidates.map((one, at) =>
  make("button", { type: "button", class: "pz-candidate", "aria-pressed": String(one.id === block.shown), disabled: state.running, title: one.title,
    "aria-label": `${at + 1} ${one.title}`, on: { click: () => ask({ do: "swap", id: block.key, picture: one.id }) } },
    make("img", { src: small(one.id), alt: "", loading: "lazy" }))));
const figure = (block) => {
  const mine = opened?.key === block.key && !state.running, several = block.candidates.length > 1;
  return make("figure", { class: "pz-block pz-figure", "data-key": block.key, "data-open": mine }, view(block),
    make("figcaption", {}, make("span", { class: "pz-said", text: block.caption }), credit(block.credit)),
    !state.running && (several || block.shown) && make("div", { class: "pz-figure-row" }, several ? thumbs(block) : "", block.shown && make("div", { class: "pz-row" },
      button("more_pictures", () => run({ do: "again", stage: block.caption ? "candidates" : "captions", id: block.key, form }, true), "pz-quiet"),
      button("upload", () => replace(block), "pz-quiet"), button("edit", () => open(block.key), "pz-quiet"))),
    mine && figurePanel(block));
};
const figurePanel = (block) => {
  const line = (name, value) => {
    const control = make("input", { type: "text", maxlength: 2000 });
    control.value = value;
    return [control, make("label", { class: "pz-field" }, make("span", { text: say(name) }), control)];
  };
  const [caption, captionField] = line("caption", block.caption), [alt, altField] = line("alt", block.alt), [query, queryField] = line("query", block.query);
  const done = (what) => { opened = null; ask({ id: block.key, ...what }) };
  return make("div", { class: "pz-panel", on: { keydown: (event) => { if (event.key === "Escape") close(block.key) } } },
    captionField, block.shown && altField, queryField,
    make("div", { class: "pz-row" }, button("save", () => done({ do: "describe", caption: caption.value, alt: alt.value }), "pz-primary"),
      button("find", async () => {
        const told = await run({ do: "find", id: block.key, caption: caption.value, query: query.value, form });
        if (told.refused) query.focus();
      }), button("up", () => ask({ do: "move_picture", id: block.key, by: -1 }), "pz-quiet"),
      button("down", () => ask({ do: "move_picture", id: block.key, by: 1 }), "pz-quiet"), block.shown && button("remove", () => done({ do: "clear" }), "pz-quiet"), button("delete_place", () => done({ do: "delete_picture" }), "pz-quiet"),
      button("close", () => close(block.key), "pz-quiet")),
    state.own.length && make("div", { class: "pz-offer", role: "group", "aria-label": say("own") }, ...state.own.map((one, at) => make("button", { type: "button",
      class: "pz-candidate", title: one.name, "aria-label": `${at + 1} ${one.name}`, on: { click: () => { opened = null; ask({ do: "put", id: block.key, picture: one.id }) } } },
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
