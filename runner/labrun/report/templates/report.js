// What a reader without JavaScript does not need: a filter, keys, copy buttons, and folds that open for their link.
// It makes no request, keeps nothing, and sets no style: it hides, shows and moves what the page already has.
"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // The filter. Its words are in the address, so that what one sees can be sent to another.
  const verdicts = document.getElementById("verdicts");
  const field = make("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
  const count = make("output", { for: "filter" });
  const toggle = make("input", { type: "checkbox", id: "keys", checked: "" });
  const bar = make("div", { class: "bar", role: "search" },
    make("label", { for: "filter" }, "Filter"), field, count,
    make("details", { class: "keys" }, make("summary", {}, "Keys"), toggle, make("label", { for: "keys" }, "on "),
      ...["/ filter", "j next", "k back", "x next that is not as expected", "o open or fold"].flatMap((text) => {
        const [key, ...words] = text.split(" ");
        return [make("kbd", {}, key), " " + words.join(" ") + " "];
      })));
  verdicts.querySelector("h2").after(bar);

  // What to show, by kind: only the kinds that there are.
  const problems = all("#verdicts > .problem");
  const kinds = [["", "all"], ["surprise", "surprises"], ["inconclusive", "inconclusive"], ["error", "broken"],
    ["skipped", "skipped"]];
  const number = (kind) => kind === "" ? all(".matrix tbody tr:not(.of)").length + problems.length
    : all(`.matrix tr.${kind}, #verdicts > .problem.${kind}`).length;
  let kind = "";
  const tabs = kinds.filter(([name]) => !name || number(name)).map(([name, words]) => {
    const tab = make("button", { type: "button", "aria-pressed": String(!name) }, `${words} ${number(name)}`);
    tab.addEventListener("click", () => { show(name); filter(); remember(); });
    return [name, tab];
  });
  const show = (name) => {
    kind = tabs.some(([known]) => known === name) ? name : "";
    tabs.forEach(([known, tab]) => tab.setAttribute("aria-pressed", String(known === kind)));
  };
  if (tabs.length > 1) {
    bar.after(make("div", { class: "tabs", role: "group", "aria-label": "Show" }, ...tabs.map(([, tab]) => tab)));
  }

  const text = new Map();
  const textOf = (element) => {
    if (!text.has(element)) text.set(element, element.textContent.toLowerCase());
    return text.get(element);
  };
  const groups = all(".matrix tbody");
  const rows = all(".matrix tbody tr:not(.of)");
  const labs = all("article.lab");
  const tables = all(".packets").map((table) => all("tr[id]", table));
  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (element) => words.every((word) => textOf(element).includes(word));
    // A verdict is also found by its lab's name, which stands above it.
    rows.forEach((row) => {
      const own = textOf(row) + " " + (row.parentElement.querySelector(".of a")?.textContent.toLowerCase() ?? "");
      row.hidden = (kind && !row.matches("." + kind)) || !words.every((word) => own.includes(word));
    });
    groups.forEach((group) => { group.hidden = ![...group.rows].some((row) => !row.hidden && !row.matches(".of")); });
    problems.forEach((each) => { each.hidden = !!kind && !each.matches("." + kind); });
    const has = (lab) => !kind || lab.querySelector(`.hypothesis.${kind}, .problem.${kind}`);
    labs.forEach((lab) => { lab.hidden = !matches(lab) || !has(lab); });
    tables.forEach((packets) => {
      const some = packets.some(matches);
      packets.forEach((row) => { row.hidden = some && !matches(row); });
    });
    const shown = rows.filter((row) => !row.hidden).length;
    const within = labs.filter((lab) => !lab.hidden).length;
    count.textContent = words.length || kind ? `${shown} of ${rows.length} verdicts, ${within} of ${labs.length} labs` : "";
  };
  const remember = () => {
    const address = new URL(location.href);
    if (field.value.trim()) address.searchParams.set("q", field.value.trim());
    else address.searchParams.delete("q");
    if (kind) address.searchParams.set("show", kind);
    else address.searchParams.delete("show");
    // A sandboxed page may not change its address; then the words are just not in it.
    try { history.replaceState(null, "", address); } catch { /* the filter works all the same */ }
  };
  field.addEventListener("input", () => { filter(); remember(); });
  const recall = () => {
    const wanted = new URL(location.href).searchParams;
    field.value = wanted.get("q") ?? "";
    show(wanted.get("show") ?? "");
    filter();
  };

  // A link into something that is folded or filtered away opens it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let element = target; element; element = element.parentElement) {
      if (element.tagName === "DETAILS") element.open = true;
      if (element.matches(".detail")) element.previousElementSibling.querySelector(".unfold").open = true;
      element.hidden = false;
    }
    // What a link names is open too: how a hypothesis was judged, what is in a fold that is named itself.
    if (target.matches(".hypothesis")) all(":scope > details", target).forEach((each) => { each.open = true; });
    target.scrollIntoView();
  };
  // Who clicks sees where it goes. Who opens an address is there at once.
  addEventListener("click", (event) => {
    if (!event.target.closest?.("a[href^='#']")) return;
    document.documentElement.classList.add("moves");
    setTimeout(() => document.documentElement.classList.remove("moves"), 1000);
  });
  addEventListener("hashchange", reveal);
  addEventListener("popstate", recall);
  addEventListener("beforeprint", () => all("details.rest, details.evidence, details.how").forEach((each) => { each.open = true; }));

  // Keys. They can be turned off: a reader's own software may need the letters.
  const stops = all(".lab, .hypothesis, .step, .capture-title, .ladder-title").filter((each) => each.id);
  let current = -1;
  const visible = (element) => element.checkVisibility ? element.checkVisibility() : element.offsetParent !== null;
  const go = (step, wanted) => {
    for (let index = current + step; index >= 0 && index < stops.length; index += step) {
      if (!visible(stops[index]) || (wanted && !stops[index].matches(wanted))) continue;
      current = index;
      stops[index].tabIndex = -1;
      stops[index].focus({ preventScroll: true });
      stops[index].scrollIntoView({ block: "start" });
      return;
    }
  };
  const keys = {
    "/": () => field.focus(),
    j: () => go(1),
    k: () => go(-1),
    x: () => go(1, ".hypothesis.surprise, .hypothesis.inconclusive"),
    o: () => {
      const fold = stops[current]?.matches("details") ? stops[current] : stops[current]?.querySelector("details")
        ?? stops[current]?.closest("details");
      if (fold) fold.open = !fold.open;
    },
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.activeElement === field) {
      field.value = "";
      filter();
      remember();
      field.blur();
      return;
    }
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (!toggle.checked || typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // A step's name leads to itself, for whoever wants to send its address.
  all(".step > p:first-child").forEach((line) => {
    line.firstChild.replaceWith(make("a", { href: "#" + line.parentElement.id }, line.firstChild.data.trim()), " ");
  });

  // Copy buttons: the command, without its prompt.
  const copy = async (button, words) => {
    try {
      await navigator.clipboard.writeText(words);
      button.textContent = "copied";
    } catch {
      button.textContent = "not allowed";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };
  all(".step > pre:first-of-type > b, .again code, .lab-file code").forEach((element) => {
    const button = make("button", { type: "button", class: "copy" }, "copy");
    const whole = element.matches("b, .lab-file code");
    button.setAttribute("aria-label", element.closest(".lab-file") ? "Copy the lab's file" : "Copy the command");
    const words = () => whole ? element.textContent
      : element.textContent.split("\n").map((line) => line.replace(/^\$ /, "").replace(/\s+#.*$/, "")).join("\n");
    button.addEventListener("click", () => copy(button, words()));
    element.closest("pre").before(button);
  });

  recall();
  if (location.hash) reveal();
})();
