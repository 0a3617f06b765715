// The console's own script: keeps the page live, records follow-ups, shows what a mark means. No library, nothing fetched from outside.
(() => {
  "use strict";
  const $ = (query, root = document) => root.querySelector(query);
  const $$ = (query, root = document) => [...root.querySelectorAll(query)];
  const page = () => $("#page");
  const fill = (text, values) => Object.entries(values).reduce((out, [name, value]) => out.replaceAll(`{${name}}`, value), text || "");

  // ---- Swapping: the new page is walked into the old one, so focus, selection, scroll and open menus stay where they are.
  const keyOf = (node) => (node.nodeType === 1 ? node.id || "" : "");
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open" && name !== "class") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    if (!fresh.hasAttribute("class")) old.removeAttribute("class");
    if (old.matches("input:not([type=hidden]),textarea,select") && (old === document.activeElement || old.type === "checkbox")) return;
    const before = old.hasAttribute("data-lit") ? old.textContent : null;
    const keyed = new Map();
    for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = keyOf(child);
      let match = key ? keyed.get(key) : at;
      if (match && (match.nodeType !== child.nodeType || match.nodeName !== child.nodeName || keyOf(match) !== key)) match = null;
      if (!match) {
        old.insertBefore(document.importNode(child, true), at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      if (match.nodeType === 1) {
        if (!match.hasAttribute("data-keep")) morph(match, child);
      } else if (match.data !== child.data) match.data = child.data;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    if (before !== null && before !== old.textContent) {
      old.classList.remove("lit");
      void old.getBoundingClientRect();
      old.classList.add("lit");
    }
  }

  let fetching = false, again = false, lastFetch = 0, took = 0, timer = 0;
  async function refresh() {
    if (fetching || document.hidden) { again = true; return; }
    const wait = lastFetch + Math.max(1000, 3 * took) - Date.now(); // at most a quarter of the time, where the service is slow
    if (wait > 0) { clearTimeout(timer); timer = setTimeout(refresh, wait); return; }
    fetching = true; again = false; lastFetch = Date.now();
    const address = location.href;
    try {
      const answer = await fetch(address, { cache: "no-store", headers: { "X-Fragment": "page" }, credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok && address === location.href) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
        if (fresh) { morph(page(), fresh); settle(); }
      }
    } catch { /* the stream says when the service is back */ }
    fetching = false; took = Date.now() - lastFetch;
    if (again) refresh();
  }
  function settle() {
    const n = page().dataset.count, count = $("#nav-count");
    if (count && n !== undefined) { count.hidden = n === "0"; count.textContent = Number(n).toLocaleString("en-US"); }
    for (const [key, contacts] of [...sent]) {
      const row = document.getElementById(key);
      if (!row || row.dataset.contacts !== contacts) sent.delete(key);
      if (row) row.classList.toggle("sent", sent.has(key));
    }
    picks(); point(cursor, false); stamp();
    for (const account of $$("details.account[open]")) explain(account);
  }

  // ---- Accounts are worked out when they are opened, and again when the learner's figures have changed since.
  const explained = new Map();
  async function explain(account) {
    const box = $(".acct", account), state = account.dataset.state;
    if (!box || explained.get(account.id) === state) return;
    explained.set(account.id, state);
    box.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(account.dataset.account, { cache: "no-store", headers: { "X-Fragment": "account" }, credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      const fresh = answer.ok && $(".acct-body", new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (!fresh) throw new Error(String(answer.status));
      for (const part of $$("[id]", fresh)) part.id = `${account.id}-${part.id}`;
      const known = $(".acct-body", box);
      if (known) morph(known, fresh); else box.replaceChildren(document.importNode(fresh, true));
      box.classList.add("ready");
    } catch {
      explained.delete(account.id); // opened again, it is tried again
      if (!$(".acct-body", box)) box.firstElementChild.firstChild.data = `${$("#accounts").dataset.failed} `;
    } finally { box.removeAttribute("aria-busy"); }
  }
  document.addEventListener("toggle", (event) => { if (event.target.matches?.("details.account[open]")) explain(event.target); }, true);
  function opened() {
    const account = location.hash.startsWith("#account-") && document.getElementById(location.hash.slice(1));
    if (account) { account.open = true; account.scrollIntoView({ block: "start" }); $("summary", account).focus({ preventScroll: true }); }
  }
  window.addEventListener("hashchange", opened);

  // ---- The stamp: how far the data lies behind the programme's clock, in real seconds.
  let lost = false, asOf = 0, arrived = performance.now();
  function stamp(beat) {
    const mark = $("#asof"), out = $("#lag"), main = page();
    if (!mark || !main) return;
    if (!asOf || Date.parse(mark.dataset.stamp) > asOf) asOf = Date.parse(mark.dataset.stamp) || 0;
    const speed = Number(document.body.dataset.speed || 1), clock = Number(document.body.dataset.clock || 0);
    const behind = !asOf || !clock ? 0 : speed > 0 ? (clock - asOf) / speed / 1000 + (performance.now() - started) / 1000 : 0;
    const seconds = Math.max(0, Math.round(behind));
    const late = lost || seconds > 10;
    mark.classList.toggle("late", late);
    out.textContent = lost ? main.dataset.lost : late ? fill(main.dataset.late, { n: seconds }) : seconds < 2 ? main.dataset.live : fill(main.dataset.lag, { n: seconds });
    if (beat) { mark.classList.remove("beat"); void mark.getBoundingClientRect(); mark.classList.add("beat"); }
  }
  const started = performance.now();
  function live() {
    if (!document.body.dataset.live || !window.EventSource) return;
    const stream = new EventSource(document.body.dataset.live);
    let first = true;
    stream.addEventListener("fresh", (message) => {
      lost = false; arrived = performance.now();
      const news = JSON.parse(message.data);
      asOf = Date.parse(news.as_of) || asOf;
      if (!first || asOf > Date.parse($("#asof")?.dataset.stamp || 0)) refresh();
      stamp(!first); first = false;
    });
    stream.onopen = () => { if (lost) { lost = false; stamp(); refresh(); } };
    stream.onerror = () => { lost = true; stamp(); };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
    window.addEventListener("pagehide", () => stream.close());
    setInterval(stamp, 1000);
  }

  // ---- The work list: keyboard, selection, the dialog.
  const rows = () => $$("[data-row]");
  const sent = new Map();
  let cursor = "", targets = [], key = "";
  function point(id, move = true) {
    for (const row of rows()) row.classList.toggle("cur", row.id === id && row.tagName === "TR");
    cursor = id;
    if (move) document.getElementById(id)?.scrollIntoView({ block: "nearest" });
  }
  function step(by) {
    const ids = rows().map((row) => row.id);
    if (!ids.length) return;
    const at = ids.indexOf(cursor);
    point(ids[Math.max(0, Math.min(ids.length - 1, at < 0 ? (by > 0 ? 0 : ids.length - 1) : at + by))]);
  }
  const picked = () => rows().filter((row) => $("[data-pick]", row)?.checked);
  function picks() {
    const bar = $("#pickbar");
    if (!bar) return;
    const n = picked().length;
    bar.hidden = n === 0;
    const out = $("#picked");
    out.textContent = fill(out.dataset.text, { n });
  }
  function say(text, bad) {
    const toast = $("#toast");
    toast.textContent = text; toast.classList.toggle("bad", !!bad); toast.hidden = false;
    clearTimeout(say.timer); say.timer = setTimeout(() => { toast.hidden = true; }, 5000);
  }
  function open(list) {
    const dialog = $("#follow");
    if (!dialog || !list.length) return;
    targets = list.map((row) => ({ id: row.id, learner_id: row.dataset.learner, flag: row.dataset.kind, ref: row.dataset.ref, name: row.dataset.name, contacts: row.dataset.contacts }));
    key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(16).slice(2)}`; // one key a dialog: sending again after a failure records nothing twice
    $("#follow-for").textContent = fill(targets.length > 1 ? dialog.dataset.many : dialog.dataset.one, { name: targets[0].name, n: targets.length });
    $("#follow-error").hidden = true;
    dialog.showModal();
  }
  async function save(event) {
    event.preventDefault();
    const dialog = $("#follow"), form = $("form", dialog), button = $("#follow-save"), problem = $("#follow-error");
    const data = new FormData(form), note = String(data.get("note") || "").trim();
    const groups = new Map(); // the API takes one kind of flag for many learners: one request a kind
    for (const target of targets) {
      const name = `${target.flag}|${target.ref}`;
      groups.set(name, [...(groups.get(name) || []), target]);
    }
    button.disabled = true; problem.hidden = true;
    try {
      let part = 0;
      for (const group of groups.values()) {
        const { flag, ref } = group[0];
        const body = { learners: group.map((target) => target.learner_id), flag, ...(ref ? { ref } : {}), channel: data.get("channel"), outcome: data.get("outcome"), ...(note ? { note } : {}) };
        const answer = await fetch(dialog.dataset.url, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json", "Idempotency-Key": groups.size > 1 ? `${key}.${part++}` : key }, body: JSON.stringify(body) });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) {
          const told = await answer.json().catch(() => ({}));
          throw new Error(told.detail || told.title || String(answer.status));
        }
        for (const target of group) {
          sent.set(target.id, target.contacts);
          const row = document.getElementById(target.id), box = row && $("[data-pick]", row);
          row?.classList.add("sent");
          if (box) box.checked = false;
        }
      }
      dialog.close(); form.reset(); picks();
      say(`${fill(dialog.dataset.saved, { n: targets.length })} · ${dialog.dataset.sent}`);
      refresh();
    } catch (error) {
      problem.textContent = fill(dialog.dataset.failed, { reason: error.message }); problem.hidden = false;
    } finally { button.disabled = false; }
  }

  // ---- Marks that explain themselves on hover, focus and touch.
  let tip = null;
  function show(target, x, y) {
    tip ??= Object.assign(document.body.appendChild(document.createElement("div")), { className: "tip" });
    tip.textContent = target.dataset.tip; tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(innerWidth - box.width - 8, x - box.width / 2))}px`;
    tip.style.top = `${y - box.height - 14 < 4 ? y + 18 : y - box.height - 14}px`;
    const chart = target.closest("[data-chart]");
    if (chart && target.dataset.x) {
      chart.classList.add("on");
      const line = $(".cross", chart), mark = $(".mark", chart);
      line.setAttribute("x1", target.dataset.x); line.setAttribute("x2", target.dataset.x);
      mark.setAttribute("cx", target.dataset.x); mark.setAttribute("cy", target.dataset.y);
    }
  }
  function hide() { if (tip) tip.hidden = true; $$("[data-chart].on").forEach((chart) => chart.classList.remove("on")); }
  document.addEventListener("pointermove", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target, event.clientX, event.clientY); else hide();
  });
  document.addEventListener("focusin", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) { const box = target.getBoundingClientRect(); show(target, box.left + box.width / 2, box.top); } else hide();
  });
  document.addEventListener("scroll", hide, { passive: true });

  document.addEventListener("click", (event) => {
    const at = (query) => event.target.closest(query);
    for (const menu of $$("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const follow = at("[data-follow]"), theme = at("[data-theme-set]"), demo = at("[data-fill]");
    if (follow) open([follow.closest("[data-row]")]);
    else if (at("#follow-picked")) open(picked());
    else if (at("#unpick")) { picked().forEach((row) => { $("[data-pick]", row).checked = false; }); picks(); }
    else if (at("#follow-cancel")) $("#follow").close();
    else if (theme) {
      const name = theme.dataset.themeSet;
      document.cookie = `chalk_theme=${name};path=/;max-age=31536000;samesite=lax`;
      if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
      $$("[data-theme-set]").forEach((button) => button.toggleAttribute("aria-current", button === theme));
    } else if (demo) {
      const form = $("form.in");
      form.username.value = demo.dataset.fill; form.password.value = demo.dataset.fillPassword; form.requestSubmit();
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-goto]")) location.href = event.target.value;
    else if (event.target.matches("[data-pick]")) picks();
  });
  document.addEventListener("submit", (event) => { if (event.target.closest("#follow")) save(event); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") $$("details.menu[open]").forEach((menu) => { menu.open = false; });
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]),textarea,select,dialog")) return;
    const row = document.getElementById(cursor);
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "x" && row) { const box = $("[data-pick]", row); if (box) { box.checked = !box.checked; picks(); } }
    else if (event.key === "f") { const list = picked(); open(list.length ? list : row ? [row] : []); }
    else if (event.key === "Enter" && row && event.target === document.body) $("a.name", row)?.click();
    else return;
    event.preventDefault();
  });
  stamp(); live(); picks(); opened();
})();
