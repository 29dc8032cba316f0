"use strict";
// Runs a session: introduction, practice, trials that count, answers as a file. Sends nothing.
(() => {
  const element = (id) => document.getElementById(id);
  const settings = JSON.parse(element("settings").textContent);
  const real = settings.mode === "real-or-fake";
  const GAP = Math.min(500, settings.trialMs); // milliseconds of grey before a pair
  const FEEDBACK = 1.2 * settings.trialMs; // that the answer of a practice trial stays
  const COLUMNS = [
    "study", "mode", "participant", "session", "started", "timestamp", "practice", "trial",
    "method", "source", "shown", "answer", "response_ms", "shown_ms", "redone",
  ];
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const frame = () => new Promise((done) => requestAnimationFrame(done));

  function show(id) {
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
    element(id).querySelector("h1[tabindex]")?.focus();
  }

  // Random numbers that a text decides: the same participant always sees the same order.

  function hash(text) {
    let h = 2166136261;
    for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 16777619);
    h = Math.imul(h ^ (h >>> 16), 2246822507);
    h = Math.imul(h ^ (h >>> 13), 3266489909);
    return (h ^ (h >>> 16)) >>> 0;
  }

  function randomOf(text) {
    let state = hash(text);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  function shuffled(list, random) {
    const mixed = [...list];
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
    }
    return mixed;
  }

  // Participants who are numbers get the methods in turn, each block of them in another order.

  function methodOf(participant) {
    const keys = Object.keys(settings.methods);
    const asked = new URLSearchParams(location.search).get("method");
    if (keys.includes(asked)) return asked;
    if (!/^\d{1,15}$/.test(participant)) {
      return keys[hash(`${settings.seed}/${participant}`) % keys.length];
    }
    const number = Number(participant);
    const block = Math.floor(number / keys.length);
    return shuffled(keys, randomOf(`${settings.seed}/block ${block}`))[number % keys.length];
  }

  function draw(participant, method) {
    const random = randomOf(`${settings.seed}/${participant}/${method}`);
    const pool = settings.methods[method];
    const turned = (trial) => ({ ...trial, images: shuffled(trial.images, random) });
    const practice = shuffled(pool.practice, random).slice(0, settings.practice);
    const counted = shuffled(pool.counted, random).slice(0, settings.counted);
    return [practice.map(turned), counted.map(turned)];
  }

  // Pictures are decoded before their trial, so that none appears before the other.

  const loading = new Map();

  function load(name) {
    if (!loading.has(name)) {
      const image = new Image();
      image.alt = "";
      image.draggable = false;
      image.src = `images/${name}.png`;
      loading.set(name, image.decode().then(() => image));
    }
    return loading.get(name);
  }

  const loadAll = (trial) =>
    Promise.all([trial.source, ...trial.images].filter(Boolean).map(load));

  // A trial during which the page is hidden is redone.

  let away = false;
  let leave = () => {};
  let current = 0; // number of the trial that is running; what an earlier one still does is void
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "hidden") return;
    away = true;
    leave();
  });

  function notice(title, text) {
    element("notice-title").textContent = title;
    element("notice-text").textContent = text;
    show("notice");
    return new Promise((done) => {
      element("continue").onclick = done;
    });
  }

  async function untilHere() {
    while (away) {
      away = false;
      await notice("Paused", "You looked away. The trial starts again when you continue.");
    }
  }

  // One trial. Gives {answer, responseMs, shownMs}, or null if the page was hidden meanwhile.

  async function run(trial) {
    const mine = ++current;
    const running = () => mine === current;
    const stopped = new Promise((stop) => {
      leave = () => stop(null);
    });
    const images = await loadAll(trial);
    const source = trial.source ? images.shift() : null;
    const buttons = trial.images.map(() => {
      const button = document.createElement("button");
      button.type = "button";
      button.disabled = true;
      return button;
    });
    element("choices").replaceChildren(...buttons);
    element("source").replaceChildren(...(source ? [source, "source"] : []));
    if (away) return null;
    const answered = real
      ? pair(trial, buttons, images, running)
      : several(trial, buttons, images);
    const result = await Promise.race([stopped, answered]);
    current += 1;
    leave = () => {};
    document.onkeydown = null;
    if (!result) for (const button of buttons) button.replaceChildren();
    return result;
  }

  async function pair(trial, buttons, images, running) {
    await wait(GAP);
    if (!running()) return null;
    buttons.forEach((button, i) => button.replaceChildren(images[i]));
    await frame();
    const start = performance.now();
    await wait(settings.trialMs);
    if (!running()) return null;
    const shownMs = performance.now() - start;
    buttons.forEach((button, i) => {
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = i ? "right →" : "← left";
      button.replaceChildren(name);
    });
    const keys = { ArrowLeft: 0, ArrowRight: 1, 1: 0, 2: 1 };
    return { ...(await choice(trial, buttons, keys, start)), shownMs };
  }

  async function several(trial, buttons, images) {
    buttons.forEach((button, i) => {
      const badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = i + 1;
      button.setAttribute("aria-label", `Result ${i + 1}`);
      button.replaceChildren(images[i], badge);
    });
    await frame();
    const start = performance.now();
    const keys = Object.fromEntries(buttons.map((_, i) => [String(i + 1), i]));
    const answer = await choice(trial, buttons, keys, start);
    return { ...answer, shownMs: answer.responseMs };
  }

  function choice(trial, buttons, keys, start) {
    return new Promise((done) => {
      const choose = (i) => {
        for (const button of buttons) button.disabled = true;
        done({ answer: trial.images[i], responseMs: performance.now() - start });
      };
      buttons.forEach((button, i) => {
        button.disabled = false;
        button.onclick = () => choose(i);
      });
      document.onkeydown = (event) => {
        if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
        if (!(event.key in keys) || buttons[0].disabled) return;
        event.preventDefault();
        choose(keys[event.key]);
      };
    });
  }

  async function feedback(trial, answer) {
    const right = answer === trial.real;
    const side = trial.images.indexOf(trial.real) ? "right" : "left";
    element("feedback").textContent = `${right ? "Yes" : "No"}: the ${side} one was real.`;
    await wait(FEEDBACK);
    element("feedback").textContent = "";
  }

  async function part(trials, practice, session, lines) {
    for (const [i, trial] of trials.entries()) {
      let redone = 0;
      let result = null;
      while (!result) {
        await untilHere();
        show("trial");
        const title = practice ? "Practice" : real ? "Pair" : "Picture";
        element("progress").textContent = `${title} ${i + 1} of ${trials.length}`;
        const running = run(trial);
        if (i + 1 < trials.length) loadAll(trials[i + 1]).catch(() => {});
        result = await running;
        if (!result) redone += 1;
      }
      lines.push({
        ...session,
        timestamp: new Date().toISOString(),
        practice: practice ? 1 : 0,
        trial: i + 1,
        source: trial.source ?? "",
        shown: trial.images.join(" "),
        answer: result.answer,
        response_ms: result.responseMs.toFixed(1),
        shown_ms: result.shownMs.toFixed(1),
        redone,
      });
      for (const name of [trial.source, ...trial.images]) loading.delete(name);
      if (practice) await feedback(trial, result.answer);
    }
  }

  function finish(participant, lines) {
    const csv = [COLUMNS.join(","), ...lines.map((l) => COLUMNS.map((c) => l[c]).join(","))];
    const text = csv.join("\n") + "\n";
    const link = element("download");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `study-${settings.study}-${participant}.csv`;
    link.onclick = () => removeEventListener("beforeunload", warn);
    element("csv").value = text;
    show("end");
  }

  function warn(event) {
    event.preventDefault();
  }

  async function begin(participant) {
    const method = methodOf(participant);
    const [practice, counted] = draw(participant, method);
    const session = {
      study: settings.study,
      mode: settings.mode,
      participant,
      session: hash(`${participant}/${Date.now()}/${Math.random()}`).toString(16),
      started: new Date().toISOString(),
      method: real ? method : "",
    };
    const lines = [];
    addEventListener("beforeunload", warn);
    try {
      await part(practice, true, session, lines);
      if (practice.length) {
        await notice("Now it counts", `${counted.length} pairs without answers follow.`);
        away = false;
      }
      await part(counted, false, session, lines);
      finish(participant, lines);
    } catch (error) {
      removeEventListener("beforeunload", warn);
      element("continue").hidden = true;
      notice("This page is incomplete", `A picture beside it cannot be shown: ${error.message}`);
    }
  }

  const asked = new URLSearchParams(location.search).get("participant") ?? "";
  const input = element("participant");
  input.value = /^[A-Za-z0-9_-]{1,40}$/.test(asked) ? asked : "";
  element("start").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(input.value);
  });
  show("intro");
})();
