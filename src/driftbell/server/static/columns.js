// Shows the columns with a text in their names while it is typed into the search field.
let timer, newest = 0;
document.addEventListener("input", ({ target }) => {
  if (target.id !== "column") return;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const url = new URL(location.href), turn = ++newest;
    url.hash = "";
    url.searchParams.delete("start");
    url.searchParams.set("column", target.value);
    if (!target.value.trim()) url.searchParams.delete("column");
    try {
      const answer = await fetch(url, { cache: "no-store" });
      if (!answer.ok || turn !== newest) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("cards").replaceWith(fresh.getElementById("cards"));
      history.replaceState(null, "", url);
    } catch {
      document.getElementById("contact").hidden = false;
    }
  }, 250);
});
