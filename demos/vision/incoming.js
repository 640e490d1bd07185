// How pictures come to the viewer: files, a paste, a drop, an address, a PDF's pages. Runs in one function with viewer.js, before it.

// ---- pictures come: files, a paste, a drop, an address ------------------------------------------------------------------------

const add = async (files) => {
  const list = [...files];
  if (!list.length) return;
  if (!state.key || !desk.largest) { waiting.push(...list); return refresh() }
  if (list.length > desk.most) return news(say("too_many", { most: desk.most, n: list.length }));
  const failed = [];
  busy++;
  for (const [index, file] of list.entries()) {
    news(list.length > 1 ? say("adding", { done: index + 1, total: list.length }) : "");
    if (file.size > desk.largest) { failed.push(say("too_large", { name: file.name, mb: desk.largest >> 20 })); continue }
    try {
      const address = `puyu/pictures/${state.key}?name=${encodeURIComponent(file.name)}&lang=${pz.lang}`;
      const answer = await (await fetch(address, { method: "POST", body: file })).json();
      if (answer.error) failed.push(answer.error);
      taken({ ...answer, error: undefined });
    } catch { failed.push(`${file.name}: ${say("lost")}`) }
  }
  busy--;
  news(failed.join("\n"));
  refresh();
  if (desk.pdf) openPages();
};
const get = async (address) => {
  news(say("fetching"));
  busy++;
  let answer;
  try { answer = taken(await server.vision_do({ ...about(), do: "url", address })) }
  catch { news(say("lost")); return false }
  finally { busy-- }
  if (answer.error) return false;
  news("");
  if (desk.pdf) openPages();
  return true;
};
// A question that is sent now would go without the pictures that are still on their way.
const hold = (event) => {
  if (!busy && !waiting.length) return;
  const sends = event.type === "keydown" ? event.key === "Enter" && !event.shiftKey && event.target.closest("#vision-composer") : event.target.closest("#vision-composer .submit-button");
  if (!sends) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  news(say("still_adding"));
};
document.addEventListener("keydown", hold, true);
document.addEventListener("click", hold, true);
const here = () => document.documentElement.dataset.tab === "vision";
const brings = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/uri-list");
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])], types = event.clipboardData?.types ?? [];
  const writing = types.includes("text/plain") && types.includes("text/html");  // cells or paragraphs, which come with a picture of themselves
  if (here() && files.length && !writing) { event.preventDefault(); add(files) }
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh() });  // another page of this browser may share the desk
document.addEventListener("dragover", (event) => {
  if (!here() || moving || !brings(event)) return;
  event.preventDefault();
  element.classList.add("pz-dropping");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) element.classList.remove("pz-dropping") });
document.addEventListener("drop", (event) => {
  element.classList.remove("pz-dropping");
  if (!here() || moving || !brings(event)) return;
  event.preventDefault();
  const address = event.dataTransfer.getData("text/uri-list").split("\n")[0];
  if (event.dataTransfer.files.length) add(event.dataTransfer.files);
  else if (/^https?:/i.test(address)) get(address);
}, true);

// ---- a PDF's pages ------------------------------------------------------------------------------------------------------------

const openPages = async () => {
  if (!desk.pdf || pages.going) return;
  if (pages.of !== desk.pdf.id) pages = { of: desk.pdf.id, list: [], taken: new Set(), going: false };
  pages.going = true;
  draw();
  const answer = await ask({ do: "pages", first: pages.list.length + 1 });
  pages.going = false;
  pages.list.push(...(answer.pages ?? []));
  if (pages.list.length === 1) pages.taken.add(pages.list[0].n);
  const first = !$(".pz-page");
  draw();
  if (!first) return;
  await Promise.all([...element.querySelectorAll(".pz-page img")].map((image) => image.decode().catch(() => {})));  // they have heights then
  $(".pz-pages").scrollIntoView({ block: "nearest" });
};
const takePages = async () => {
  const answer = await ask({ do: "take_pages", pages: [...pages.taken].sort((a, b) => a - b) });
  if (!answer.error) pages = { of: "", list: [], taken: new Set(), going: false };
  draw();
};
const picker = () => {
  const place = $(".pz-pages"), opened = desk.pdf;
  place.hidden = !opened;
  if (!opened) return place.replaceChildren();
  const toggle = (page) => {
    pages.taken.has(page.n) ? pages.taken.delete(page.n) : pages.taken.add(page.n);
    draw();
    $(`.pz-page[data-n="${page.n}"]`)?.focus();
  };
  place.replaceChildren(...[
    make("h3", { text: say("pdf_title", { name: opened.name || "PDF" }) }),
    make("div", { class: "pz-page-list" }, ...pages.list.map((page) => make("button", {
      type: "button", class: "pz-page", "data-n": page.n, "aria-pressed": String(pages.taken.has(page.n)), "aria-label": say("page", { n: page.n }),
      on: { click: () => toggle(page) } }, make("img", { src: page.data, alt: "" }), make("b", { text: page.n })))),
    pages.going && make("p", { class: "pz-small pz-waiting", text: say("drawing") }),
    make("div", { class: "pz-buttons" },
      make("button", { type: "button", class: "pz-button pz-primary", disabled: !pages.taken.size, text: say("take_pages", { n: pages.taken.size }), on: { click: takePages } }),
      pages.list.length < opened.last && make("button", { type: "button", class: "pz-button", disabled: pages.going, text: say("more_pages"), on: { click: openPages } }),
      make("button", { type: "button", class: "pz-button pz-quiet", text: say("close_pdf"), on: { click: () => { pages.of = ""; ask({ do: "close_pdf" }) } } })),
  ].filter(Boolean));
};
