const field = document.getElementById("search");
if (field) {
  const items = [...document.querySelectorAll("li")].map((item) => [item, item.textContent.toLowerCase()]);
  const sections = [...document.querySelectorAll("section")];
  const search = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [item, text] of items) item.hidden = !words.every((word) => text.includes(word));
    for (const section of sections) section.hidden = !section.querySelector("li:not([hidden])");
    const found = new Set(items.filter(([item]) => !item.hidden).map(([item]) => item.querySelector("a").getAttribute("href")));
    document.querySelector("output").textContent = words.length ? `${found.size} found` : "";
    history.replaceState(null, "", words.length ? `#q=${encodeURIComponent(field.value)}` : location.pathname);
  };
  field.closest("p").hidden = false;
  const asked = location.hash.match(/^#q=(.*)$/);
  if (asked) {
    try { field.value = decodeURIComponent(asked[1]); } catch { field.value = ""; }
    search();
  }
  field.addEventListener("input", search);
}
