// Runs first in <head>, before Gradio: language, appearance, deep links, staying at the end of a streaming answer.
// `window.pz` holds {lang, html, cookie, tabs, texts} from demos/head.py. No text of a model or a visitor is ever put in as HTML.
(() => {
  const pz = window.pz, root = document.documentElement;
  const store = {
    get: (key) => { try { return localStorage.getItem(key) } catch { return null } },  // a browser may forbid storage
    set: (key, value) => { try { localStorage.setItem(key, value) } catch { /* the choice then lasts until the reload */ } },
  };
  const when = (ready) => document.body ? ready() : addEventListener("DOMContentLoaded", ready);

  // Language: one choice, made by the server, for Gradio's bundle and <html lang> too.
  root.lang = pz.html;
  Object.defineProperty(navigator, "language", { get: () => pz.html, configurable: true });
  Object.defineProperty(navigator, "languages", { get: () => [pz.html], configurable: true });
  pz.t = (key) => pz.texts[key] ?? key;
  pz.fill = (element) => element.querySelectorAll("[data-t]").forEach((e) => { e.textContent = pz.t(e.dataset.t) });
  // An element with attributes, text and listeners; a stranger's words may stand in all of them.
  pz.make = (tag, set = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(set)) {
      if (name === "text") node.textContent = value;
      else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
      else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter(Boolean));
    return node;
  };
  pz.setLanguage = (lang) => {
    document.cookie = `${pz.cookie}=${lang};path=/;max-age=31536000;SameSite=Lax`;
    const url = new URL(location.href);
    url.searchParams.delete("lang");
    if (!document.cookie.includes(`${pz.cookie}=${lang}`)) url.searchParams.set("lang", lang);  // cookies are blocked, as in some frames
    url.search === location.search ? location.reload() : location.assign(url);
  };

  // Appearance: ?__theme=, the stored choice, then the system. Gradio's own .dark class follows.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const wanted = new URLSearchParams(location.search).get("__theme");
  pz.theme = ["light", "dark"].includes(wanted) ? wanted : store.get("puyu_theme") ?? "system";
  const paint = () => {
    const dark = pz.theme === "dark" || (pz.theme === "system" && system.matches);
    root.dataset.theme = dark ? "dark" : "light";
    document.body?.classList.toggle("dark", dark);
  };
  pz.setTheme = (theme) => { pz.theme = theme; store.set("puyu_theme", theme); paint() };
  system.addEventListener("change", paint);
  paint();

  // Deep links: #chat, also with back and forward.
  const buttons = () => [...document.querySelectorAll("#tabs .tab-container:not(.visually-hidden) button[role=tab]")];
  const fromHash = () => Math.max(0, pz.tabs.indexOf(location.hash.slice(1)));
  const opened = (id) => { root.dataset.tab = id; dispatchEvent(new CustomEvent("pz-tab")) };
  const show = () => {
    const button = buttons()[fromHash()];
    opened(pz.tabs[fromHash()]);
    if (button && button.getAttribute("aria-selected") !== "true") button.click();
  };
  root.dataset.tab = pz.tabs[fromHash()];
  addEventListener("popstate", show);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#tabs>.tab-wrapper button[role=tab]");
    const id = button && pz.tabs[buttons().indexOf(button)];
    if (!id) return;
    opened(id);
    if (id !== pz.tabs[fromHash()]) history.pushState(null, "", location.pathname + location.search + "#" + id);
  }, true);

  // Models came or went, or one was chosen for a tab: cards.py's model_news hears it.
  pz.modelsChanged = (model, tab) => dispatchEvent(new CustomEvent("pz-models", { detail: model ? { model, tab } : {} }));
  // Until the picker shows it: Gradio drops an event while the same one is under way, and news may be.
  pz.askWith = (model, tab) => {
    let left = 20;
    const picker = tab === "chat" ? "#model-picker" : `#${tab}-model`;
    const ask = () => {
      if (!left-- || document.querySelector(`${picker} input`)?.value.split(" · ")[0] === model) return;
      pz.modelsChanged(model, tab);
      setTimeout(ask, 500);
    };
    ask();
    location.hash = `#${tab}`;
  };

  // Put words into a field as if they were typed there: Gradio listens to input events.
  pz.write = (area, text) => {
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, text);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  pz.tellChat = (text) => {
    const area = document.querySelector("#chat-composer textarea");
    if (!area) return;
    location.hash = "#chat";
    pz.write(area, text);
    area.focus();
    area.setSelectionRange(text.length, text.length);
  };

  // Settings: the icon in the bar opens the sidebar, Escape closes it and gives the focus back.
  const sidebar = () => document.querySelector("#settings");
  pz.settings = () => {
    sidebar()?.querySelector(".toggle-button")?.click();
    pz.modelsChanged();  // the picker in there is about to be read
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && sidebar()?.classList.contains("open")) {
      pz.settings();
      document.querySelector(".pz-gear")?.focus();
    }
    // While an answer streams there is no Send: Enter must not send either.
    const composer = event.target.closest?.(".pz-composer");
    if (event.key === "Enter" && !event.shiftKey && composer && !composer.querySelector(".submit-button")) {
      event.preventDefault();
      event.stopPropagation();
    }
  }, true);
  document.addEventListener("keypress", (event) => {
    const composer = event.target.closest?.(".pz-composer");
    if (event.key === "Enter" && !event.shiftKey && composer && !composer.querySelector(".submit-button")) event.stopImmediatePropagation();
  }, true);

  // Stay at the end of a growing answer, until the reader scrolls up; follow again when back at the end.
  const seen = new WeakSet();
  const pin = (log) => {
    if (seen.has(log)) return;
    seen.add(log);
    let pinned = true, last = 0;
    log.addEventListener("scroll", () => {
      if (log.scrollHeight - log.scrollTop - log.clientHeight < 2) pinned = true;  // also where it only moved because there is more room
      else if (log.scrollTop < last - 2) pinned = false;
      else if (log.scrollHeight - log.scrollTop - log.clientHeight < 80) pinned = true;
      last = log.scrollTop;
    }, { passive: true });
    log.addEventListener("wheel", (event) => { if (event.deltaY < 0) pinned = false }, { passive: true });
    const follow = () => { if (pinned) log.scrollTop = log.scrollHeight };
    // What Gradio reads out is a message's source; of a line of figures, or of pictures, that is HTML.
    const name = () => log.querySelectorAll('[aria-label*="\u2063<span"]').forEach((node) => {
      const said = [...node.querySelectorAll("img")].map((image) => image.alt).join(", ") || node.textContent.replace(/[\u2063\u2064]/g, "").trim();
      if (said) node.setAttribute("aria-label", said);
    });
    new MutationObserver(() => { follow(); name() }).observe(log, { childList: true, subtree: true, characterData: true });
    new ResizeObserver(follow).observe(log);  // a card below it takes room
    log.addEventListener("load", follow, true);  // a picture has a height once it is there
  };
  // Copy gives the answer, without the line of figures under it.
  const clipboard = navigator.clipboard, write = clipboard?.writeText.bind(clipboard);
  if (write) clipboard.writeText = (text) => write(text.replace(/\s*\u2063<span class="pz-(?:foot|shots)">.*?\u2064\s*/gs, ""));

  let linked = false;
  const scan = () => {
    document.querySelectorAll(".pinchat .bubble-wrap").forEach(pin);
    if (!linked && buttons().length) { linked = true; setTimeout(show) }
  };
  when(() => {
    paint();
    new MutationObserver(paint).observe(document.body, { attributeFilter: ["class"] });
    new MutationObserver(scan).observe(document.body, { childList: true, subtree: true });
    scan();
  });
})();
