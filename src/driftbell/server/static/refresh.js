// Reloads the content of the page every 5 seconds while the page is visible.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.status === 401) location.reload(); // the session has ended
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const live = document.getElementById("live");
    document.getElementById("contact").hidden = true;
    if (live.contains(document.activeElement) || !getSelection().isCollapsed) return;
    live.replaceWith(fresh.getElementById("live"));
    document.title = fresh.title;
  } catch {
    document.getElementById("contact").hidden = false;
  }
}, 5000);
