// What is left of a run's budget. Given by Gradio: element, props, watch. Between two values the seconds go down by themselves.
const box = element.querySelector(".pz-budget"), parts = [...box.querySelectorAll(".pz-left")];
let at = 0, timer = 0;
const words = { turns: "agent.left_turns", seconds: "agent.left_seconds", tokens: "agent.left_tokens" };
const draw = () => {
  const value = props.value;
  box.hidden = !value;
  if (!value) return;
  Object.keys(words).forEach((name, index) => {
    const [left, of] = value[name], gone = name === "seconds" && value.going ? (performance.now() - at) / 1000 : 0;
    const now = Math.max(0, left - gone), text = `${Math.round(now).toLocaleString(pz.html)} / ${Math.round(of).toLocaleString(pz.html)}`;
    const line = pz.t(words[name]).replace("{n}", text), span = parts[index].querySelector("span");
    if (span.textContent !== line) span.textContent = line;
    parts[index].querySelector(".pz-track>div").style.transform = `scaleX(${of ? now / of : 0})`;
    parts[index].classList.toggle("pz-low", now / of < 0.2);
  });
};
const show = () => {
  at = performance.now();
  clearInterval(timer);
  draw();
  if (props.value?.going) timer = setInterval(draw, 1000);
};
show();
watch("value", show);
