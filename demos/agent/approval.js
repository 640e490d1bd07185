// The card that asks before a call runs. Given by Gradio: element, props, watch, trigger. Arguments are a model's words: text only.
const card = element.querySelector(".pz-approval"), area = card.querySelector("textarea"), problem = card.querySelector(".pz-approval-problem");
const run = card.querySelector("[data-what=run]"), reason = card.querySelector(".pz-reason");
let value = null, sent = "";

const edited = () => value && area.value !== value.text;
const fit = () => {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, innerHeight * 0.36)}px`;
  run.textContent = pz.t(edited() ? "agent.run_edited" : "agent.run");
};
const show = () => {
  const next = props.value, same = next && value && next.id === value.id && next.text === value.text && next.problem === value.problem;
  if (same) return;  // what is being written in it stays
  const again = next && value && next.id === value.id;
  value = next;
  card.hidden = !value;
  if (!value) { sent = ""; return }
  if (again || sent !== value.id) card.classList.remove("pz-sent");
  card.querySelector(".pz-card-title").textContent = value.title;
  card.querySelector(".pz-detail").textContent = value.code ? pz.t("agent.ask_code_about") : pz.t("agent.ask_tool_about");
  problem.textContent = value.problem;
  problem.hidden = !value.problem;
  area.setAttribute("aria-label", pz.t("agent.arguments"));
  if (!again) { area.value = value.text; reason.value = "" }
  requestAnimationFrame(fit);
};
const decide = (what) => {
  if (!value || card.classList.contains("pz-sent")) return;
  sent = value.id;
  card.classList.add("pz-sent");
  trigger("decide", { id: value.id, tool: value.tool, what, text: area.value, edited: edited(), reason: reason.value });
};
pz.fill(element);
reason.placeholder = pz.t("agent.reason");
reason.setAttribute("aria-label", pz.t("agent.reason"));
area.addEventListener("input", fit);
card.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => decide(button.dataset.what)));
reason.addEventListener("keydown", (event) => { if (event.key === "Enter") decide("deny") });
area.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) decide("run") });
show();
watch("value", show);
