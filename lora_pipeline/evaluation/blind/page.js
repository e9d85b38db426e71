"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const start = byId("start"), end = byId("end"), all = byId("pairs");
  const pairs = [...all.querySelectorAll(".pair-page")];
  const seen = Object.fromEntries(pairs.map((pair) => [pair.id, 0]));
  const plan = start.dataset.plan, place = "lora-blind-" + plan;
  let current = -1, since = 0;

  const groups = (pair) => [...pair.querySelectorAll("fieldset")];
  const chosen = (group) => group.querySelector("input:checked");
  const answered = (pair) => Boolean(chosen(groups(pair)[0]));

  // What was answered is kept in this browser, so that closing the window loses nothing.
  function keep() {
    const said = {};
    for (const input of all.querySelectorAll("input:checked")) said[input.name] = input.value;
    try {
      localStorage.setItem(place, JSON.stringify({ said, seen, comment: byId("comment").value }));
    } catch { /* a browser that keeps nothing still saves the file */ }
  }

  function recall() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(place)); } catch { return; }
    if (!kept || typeof kept.said !== "object") return;
    for (const input of all.querySelectorAll("input")) input.checked = kept.said[input.name] === input.value;
    for (const pair of pairs) seen[pair.id] = Number(kept.seen && kept.seen[pair.id]) || 0;
    byId("comment").value = String(kept.comment || "");
  }

  function clock() {
    if (current >= 0 && current < pairs.length && since) {
      seen[pairs[current].id] += Math.max(1, Math.round(performance.now() - since));
    }
    since = document.hidden ? 0 : performance.now();
  }

  function mark(pair, group) {
    for (const one of groups(pair)) one.classList.toggle("asked", one === group);
  }

  function show(index) {
    clock();
    if (current >= 0 && current < pairs.length) stopFlicker(pairs[current]);
    current = index;
    start.hidden = index >= 0;
    all.hidden = index < 0 || index >= pairs.length;
    end.hidden = index < pairs.length;
    pairs.forEach((pair, number) => { pair.hidden = number !== index; });
    const target = index < 0 ? start : index < pairs.length ? pairs[index] : end;
    if (index >= 0 && index < pairs.length) {
      mark(target, groups(target).find((group) => !chosen(group)) || groups(target)[0]);
    }
    if (index >= pairs.length) tellLeftOver();
    target.focus();
    window.scrollTo(0, 0);
    keep();
  }

  function tellLeftOver() {
    const open = pairs.filter((pair) => !answered(pair));
    byId("save").disabled = open.length > 0;
    byId("left-over").textContent = open.length
      ? "Still open: " + open.map((pair) => "pair " + (pairs.indexOf(pair) + 1)).join(", ")
      : "All " + pairs.length + " pairs are answered.";
  }

  function pick(value) {
    const pair = pairs[current];
    if (!pair) return;
    const open = groups(pair);
    const group = open.find((one) => one.classList.contains("asked")) || open[0];
    const input = group.querySelector('input[value="' + value + '"]');
    input.checked = true;
    input.focus();
    const next = open[open.indexOf(group) + 1];
    if (next) mark(pair, next); else show(current + 1);
    keep();
  }

  const timers = new Map();
  function stopFlicker(pair) {
    clearInterval(timers.get(pair));
    timers.delete(pair);
    pair.classList.remove("flickers", "second");
    pair.querySelector(".flicker").setAttribute("aria-pressed", "false");
  }
  function flicker(pair) {
    if (timers.has(pair)) return stopFlicker(pair);
    pair.classList.add("flickers");
    pair.querySelector(".flicker").setAttribute("aria-pressed", "true");
    timers.set(pair, setInterval(() => pair.classList.toggle("second"), 500));
  }

  async function digest(image) {
    const text = atob(image.src.slice(image.src.indexOf(",") + 1));
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...hash].map((one) => one.toString(16).padStart(2, "0")).join("");
  }

  async function document_() {
    const shown = {};
    for (const pair of pairs) {
      shown[pair.id] = await Promise.all([...pair.querySelectorAll("img")].map(digest));
    }
    const answers = pairs.map((pair) => ({
      pair: pair.id,
      said: Object.fromEntries(groups(pair).filter(chosen)
        .map((group) => [group.dataset.question, chosen(group).value])),
      seenMs: seen[pair.id],
    }));
    const comment = byId("comment").value.trim();
    return {
      schema: "blind-answers/v1", planId: plan, contentDigest: start.dataset.content,
      answers, shown, ...(comment ? { comment } : {}),
    };
  }

  async function save() {
    clock();
    let text;
    try {
      text = JSON.stringify(await document_(), null, 2) + "\n";
    } catch (error) {
      byId("left-over").textContent = "This browser cannot compute digests here (" + error + ").";
      return;
    }
    byId("answers").value = text;
    byId("saved").hidden = false;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "blind-" + plan + ".json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || current < 0 || !pairs[current]) return;
    const values = { 1: "left", 0: "tie", "=": "tie", 2: "right" };
    if (event.key in values) pick(values[event.key]);
    else if (event.key === "ArrowRight") show(current + 1);
    else if (event.key === "ArrowLeft") show(Math.max(0, current - 1));
    else if (event.key.toLowerCase() === "f") flicker(pairs[current]);
    else if (event.key.toLowerCase() === "z") document.body.classList.toggle("whole");
    else return;
    event.preventDefault();
  });
  document.addEventListener("visibilitychange", clock);
  all.addEventListener("change", (event) => {
    const pair = event.target.closest(".pair-page"), open = groups(pair);
    mark(pair, open.find((group) => !chosen(group)) || event.target.closest("fieldset"));
    keep();
  });
  // The keys answer the question that somebody has tabbed to.
  all.addEventListener("focusin", (event) => {
    const group = event.target.closest("fieldset");
    if (group) mark(group.closest(".pair-page"), group);
  });
  for (const pair of pairs) {
    const index = pairs.indexOf(pair);
    pair.querySelector(".back").addEventListener("click", () => show(Math.max(0, index - 1)));
    pair.querySelector(".next").addEventListener("click", () => show(index + 1));
    pair.querySelector(".flicker").addEventListener("click", () => flicker(pair));
  }
  byId("begin").addEventListener("click", () => {
    const open = pairs.findIndex((pair) => !answered(pair));
    show(open < 0 ? pairs.length : open);
  });
  byId("back-to-pairs").addEventListener("click", () => show(pairs.length - 1));
  byId("comment").addEventListener("input", keep);
  byId("save").addEventListener("click", save);
  recall();
})();
