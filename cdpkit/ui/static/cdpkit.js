// The one front-end module of the dashboards: language, figures, slider, tables to CSV, export links.
(() => {
  "use strict";
  const LANGUAGES = ["fr", "en"];
  const LOCALE = { fr: "fr-FR", en: "en-GB" };
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const json = (element) => JSON.parse(element.textContent);
  let lang = "fr";

  // ---- language: ?lang=, else the last choice, else French -----------------------------------
  const remembered = () => {
    try { return localStorage.getItem("cdpkit.lang"); } catch { return null; }
  };
  const asked = [new URLSearchParams(location.search).get("lang"), remembered()];

  function speak(chosen, keep) {
    lang = chosen;
    root.lang = lang;
    for (const element of all(`[data-${lang}]`)) element.textContent = element.dataset[lang];
    for (const element of all("[data-i18n]"))
      for (const name of element.dataset.i18n.split(" "))
        element.setAttribute(name, element.getAttribute(`data-${lang}-${name}`));
    for (const place of all(".pending:not([hidden])")) place.textContent = place.getAttribute("data-words");
    const main = document.getElementById("main");
    if (main && main.dataset.title) document.title = main.dataset.title;
    for (const button of all("[data-lang]")) button.setAttribute("aria-pressed", button.dataset.lang === lang);
    for (const link of all('a[href^="/"], a[data-copy]')) {
      const target = new URL(link.href);
      if (link.dataset.copy) {
        link.setAttribute("href", `${link.dataset.copy}?lang=${lang}${target.hash}`);
        continue;
      }
      if (target.pathname.startsWith("/export/")) continue;
      target.searchParams.set("lang", lang);
      link.href = target.pathname + target.search + target.hash;
    }
    if (keep) {
      try { localStorage.setItem("cdpkit.lang", lang); } catch { /* private window */ }
      const here = new URL(location.href);
      here.searchParams.set("lang", lang);
      history.replaceState(null, "", here);
    }
    document.dispatchEvent(new Event("cdpkit:language"));
  }

  // ---- numbers, as Babel writes them on the server -------------------------------------------
  const spaced = (words) => words.replace(/\s%/u, "\u202f%");
  const number = (value, digits = 0) =>
    new Intl.NumberFormat(LOCALE[lang], { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  const percent = (share) => {
    const digits = share > 0 && share < 0.0995 ? 1 : 0;
    return spaced(new Intl.NumberFormat(LOCALE[lang], {
      style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits,
    }).format(share));
  };
  const money = (minor, currency) => {
    const usual = new Intl.NumberFormat(LOCALE[lang], { style: "currency", currency });
    const precision = usual.resolvedOptions().maximumFractionDigits;
    const amount = minor / 10 ** precision;
    const digits = Math.abs(amount) >= 100 ? 0 : precision;
    return new Intl.NumberFormat(LOCALE[lang], {
      style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits,
    }).format(amount);
  };
  const fill = (template, values) => template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

  // ---- figures: a {fr, en} pair anywhere in the JSON is the word of the moment ---------------
  function worded(value) {
    if (Array.isArray(value)) return value.map(worded);
    if (value === null || typeof value !== "object") return value;
    const keys = Object.keys(value);
    if (keys.length === LANGUAGES.length && LANGUAGES.every((code) => code in value)) return value[lang];
    return Object.fromEntries(keys.map((key) => [key, worded(value[key])]));
  }

  function draw() {
    if (!window.Plotly) return;
    for (const plot of all(".plot")) {
      const holder = plot.parentElement.querySelector(".figure-spec");
      plot.spec ??= json(holder);
      const spec = worded(plot.spec);
      spec.layout.separators = lang === "fr" ? ",\u202f" : ".,";
      if (plot.clientWidth < 480) {
        spec.layout.font.size = 12;
        // Labels above narrow bands stand on two lines: the shape, then the word.
        for (const note of spec.layout.annotations ?? []) note.text = note.text.replace(" ", "<br>");
      }
      Plotly.react(plot, spec.data, spec.layout, { displayModeBar: false, responsive: true })
        .then(() => plot.setAttribute("data-drawn", lang));
    }
  }

  // Without plotly.js the page still answers: every data table is opened instead.
  const tables = () => all(".figure > details").forEach((details) => { details.open = true; });

  // ---- the slider "contact the N best" -------------------------------------------------------
  function best() {
    const box = document.getElementById("best");
    if (!box) return;
    const { steps, currency, between } = json(box.querySelector(".best-data"));
    const slider = box.querySelector("#best-n");
    const cost = box.querySelector("#best-cost");
    const say = box.querySelector(".say");
    const put = (name, words) => { box.querySelector(`[data-best="${name}"]`).textContent = words; };
    const range = (low, high) => fill(between[lang], { low, high });

    function show() {
      const step = steps[slider.value];
      const paid = Math.max(0, Number(cost.value) || 0) * 100 * step.n;
      put("n", number(step.n));
      put("expected", number(step.expected));
      put("expected-range", range(number(step.low), number(step.high)));
      put("precision", percent(step.expected / step.n));
      put("precision-range", range(percent(step.low / step.n), percent(step.high / step.n)));
      put("cost", money(paid, currency));
      put("each", step.expected ? money(paid / step.expected, currency) : "–");
      const words = fill(say.getAttribute("data-say"), {
        n: number(step.n), expected: number(step.expected), low: number(step.low),
        high: number(step.high), random: number(step.random),
      });
      say.textContent = words;
      slider.setAttribute("aria-valuetext", words);
      slider.style.setProperty("--done", `${(100 * slider.value) / (slider.max || 1)}%`);
      const plot = document.getElementById("curve-plot");
      if (!plot) return;
      plot.spec ??= json(plot.parentElement.querySelector(".figure-spec"));
      const chosen = plot.spec.data[plot.spec.data.length - 1];
      chosen.x = [step.n];
      chosen.y = [step.expected];
      if (plot.dataset.drawn) Plotly.restyle(plot, { x: [[step.n]], y: [[step.expected]] }, [plot.spec.data.length - 1]);
    }
    slider.addEventListener("input", show);
    cost.addEventListener("input", show);
    document.addEventListener("cdpkit:language", show);
    show();
  }

  // ---- tables to CSV -------------------------------------------------------------------------
  function save(button) {
    const separator = lang === "fr" ? ";" : ",";
    const quoted = (words) => {
      const safe = /^[=+@\t\r]|^-(?![\d.,])/.test(words) ? `'${words}` : words;
      return `"${safe.replaceAll('"', '""')}"`;
    };
    const lines = all("tr", button.parentElement.querySelector("table"))
      .map((row) => all("th,td", row).map((cell) => quoted(cell.textContent.trim())).join(separator));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n")], { type: "text/csv" }));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // ---- export: ask a one-time link, then offer it --------------------------------------------
  const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1);

  async function take(form) {
    const words = json(form.querySelector(".export-words"));
    const outcome = form.querySelector(".outcome");
    const button = form.querySelector("button");
    const tell = (key, bad) => {
      outcome.className = bad ? "outcome bad" : "outcome";
      outcome.replaceChildren(Object.assign(document.createElement("span"), { textContent: words[key][lang] }));
      LANGUAGES.forEach((code) => { outcome.firstChild.dataset[code] = words[key][code]; });
    };
    const purpose = form.elements.purpose.value;
    const author = form.elements.author.value.trim();
    if (!purpose || !author) return tell("incomplete", true);
    tell("working");
    button.disabled = true;
    try {
      const answer = await fetch("/export", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") ?? "" },
        body: JSON.stringify({ export: form.dataset.export, purpose, author }),
      });
      if (!answer.ok) return tell(answer.status === 403 ? "refused" : "lost", true);
      const { url, filename, manifest } = await answer.json();
      tell("ready");
      const paper = Object.assign(document.createElement("a"), { href: manifest.url, download: manifest.filename, className: "paper" });
      LANGUAGES.forEach((code) => { paper.dataset[code] = words.manifest[code]; });
      paper.textContent = words.manifest[lang];
      paper.addEventListener("click", () => setTimeout(() => paper.remove(), 0), { once: true });
      const link = Object.assign(document.createElement("a"), { href: url, download: filename, className: "button" });
      LANGUAGES.forEach((code) => { link.dataset[code] = words.file[code]; });
      link.textContent = words.file[lang];
      link.addEventListener("click", () => setTimeout(() => link.remove(), 0), { once: true });
      outcome.append(" ", link, " ", paper);
      link.focus();
    } catch {
      tell("offline", true);
    } finally {
      button.disabled = false;
    }
  }

  // ---- answers: sent as a decision, shown at once as pending ----------------------------------
  async function answer(form) {
    const words = json(form.querySelector(".form-words"));
    const outcome = form.querySelector(".outcome");
    const tell = (said, bad, more) => {
      outcome.className = bad ? "outcome bad" : "outcome";
      const line = document.createElement("span");
      LANGUAGES.forEach((code) => { line.dataset[code] = more ? `${said[code]} ${more[code]}` : said[code]; });
      line.textContent = line.dataset[lang];
      outcome.replaceChildren(line);
    };
    const given = new FormData(form);
    const author = (given.get("author") ?? "").trim();
    if (!author) return tell(words.incomplete, true);
    given.delete("author");
    const answers = Object.fromEntries([...given].map(([name, level]) => [name, level === "" ? null : Number(level)]));
    tell(words.working);
    try {
      const got = await fetch(form.dataset.post, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") ?? "" },
        body: JSON.stringify({ author, answers }),
      });
      if (!got.ok) return tell(words.refused, true);
      tell(words.saved, false, (await got.json()).sentence);
    } catch {
      tell(words.offline, true);
    }
  }

  // ---- decisions beside an insight: an audience asked for, a list of complements ---------------
  async function decide(form) {
    const words = json(form.querySelector(".form-words"));
    const outcome = form.querySelector(".outcome");
    const tell = (said, bad) => {
      outcome.className = bad ? "outcome bad" : "outcome";
      const line = document.createElement("span");
      LANGUAGES.forEach((code) => { line.dataset[code] = said[code]; });
      line.textContent = said[lang];
      outcome.replaceChildren(line);
    };
    const body = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    if (!body.author || !body.reason || body.product === "") return tell(words.incomplete, true);
    if (form.chosen) body.others = form.chosen();
    delete body.add;
    tell(words.working);
    try {
      const got = await fetch(form.dataset.decide, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") ?? "" },
        body: JSON.stringify(body),
      });
      tell(got.ok ? words.saved : words.refused, !got.ok);
      if (got.ok) pending();
    } catch {
      tell(words.offline, true);
    }
  }

  // What waits for the next run is asked of the server: the page itself is frozen at its publication.
  async function pending() {
    const places = all(".pending");
    if (!places.length || !location.protocol.startsWith("http")) return;
    try {
      const got = await (await fetch("/pending")).json();
      for (const place of places) {
        const { pending: name, pendingKind: kind } = place.dataset;
        const waits = got.pending.some((one) => kind ? one.kind === kind
          : one.kind === "audience" && one.subject.startsWith(`${name}_`));
        place.hidden = !waits;
        place.textContent = place.getAttribute("data-words");
      }
    } catch { /* a copy without its server */ }
  }

  function editor(form) {
    const { catalogue, present, words } = json(form.querySelector(".editor-data"));
    const list = form.querySelector(".complements");
    const say = form.querySelector(".editor-say");
    let others = [];
    form.chosen = () => others;
    const tell = (key, values) => { say.textContent = fill(words[key][lang], values ?? {}); };

    function show(place, action) {
      list.replaceChildren(...others.map((code, n) => {
        const name = catalogue[code] ?? code;
        const item = document.createElement("li");
        item.append(Object.assign(document.createElement("span"), { textContent: name }));
        for (const [act, sign, off] of [["up", "\u25b2", n === 0], ["down", "\u25bc", n === others.length - 1], ["remove", "\u2715", false]]) {
          const button = Object.assign(document.createElement("button"), { type: "button", textContent: sign, disabled: off });
          button.dataset.act = act;
          button.setAttribute("aria-label", fill(words[act][lang], { name }));
          button.addEventListener("click", () => move(n, act));
          item.append(button);
        }
        return item;
      }));
      if (!others.length && form.elements.product.value) tell("empty");
      const buttons = place === undefined ? [] : all("button", list.children[place] ?? list);
      (buttons.find((one) => one.dataset.act === action && !one.disabled) ?? buttons.find((one) => !one.disabled))?.focus();
    }

    function move(n, act) {
      const name = catalogue[others[n]] ?? others[n];
      if (act === "remove") {
        others.splice(n, 1);
        tell("removed", { name });
        show(Math.min(n, others.length - 1), act);
        if (!others.length) form.elements.add.focus();
        return;
      }
      const to = act === "up" ? n - 1 : n + 1;
      [others[n], others[to]] = [others[to], others[n]];
      tell("moved", { name, n: to + 1 });
      show(to, act);
    }

    form.elements.product.addEventListener("change", () => {
      others = [...(present[form.elements.product.value] ?? [])];
      say.textContent = "";
      show();
    });
    form.querySelector("[data-put]").addEventListener("click", () => {
      const code = form.elements.add.value;
      if (!code || others.includes(code) || code === form.elements.product.value) return;
      others.push(code);
      tell("moved", { name: catalogue[code] ?? code, n: others.length });
      show();
    });
    document.addEventListener("cdpkit:language", () => show());
  }

  // ---- widgets of a page with callbacks live in the main part --------------------------------
  for (const widget of all("body > .widget")) document.getElementById("main").append(widget);

  // ---- start ---------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-lang],[data-csv],.menu");
    if (!target) return;
    if (target.dataset.lang) speak(target.dataset.lang, true);
    else if (target.dataset.csv) save(target);
    else {
      const open = target.getAttribute("aria-expanded") !== "true";
      target.setAttribute("aria-expanded", open);
      document.body.classList.toggle("menu-open", open);
    }
  });
  document.addEventListener("submit", (event) => {
    const { export: file, post, decide: kind } = event.target.dataset;
    if (!file && !post && !kind) return;
    event.preventDefault();
    if (file) take(event.target);
    else if (kind) decide(event.target);
    else answer(event.target);
  });
  best();
  all("form.editor").forEach(editor);
  pending();
  speak(asked.find((code) => LANGUAGES.includes(code)) ?? "fr", false);
  document.addEventListener("cdpkit:language", draw);
  const plotly = document.getElementById("plotly");
  if (window.Plotly) draw();
  else if (plotly) {
    plotly.addEventListener("load", draw);
    plotly.addEventListener("error", tables);
  } else tables();
})();
