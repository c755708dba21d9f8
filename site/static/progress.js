// What has been read of the book. The browser remembers it, and nobody is told: {"01_self_attention": true, ...}
// A chapter counts as read when its end has been seen; whoever takes the tick away is believed.
(() => {
  const bar = document.querySelector(".book-progress progress");
  const box = document.querySelector(".chapter-read input");
  if (!bar) return;
  const chapters = bar.parentElement.dataset.chapters.split(" ");
  // The path keeps books of one site apart.
  const key = `read ${new URL(document.documentElement.dataset.content_root, location).pathname}`;
  let read = {};
  try { read = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* nothing is remembered */ }

  function show() {
    bar.value = chapters.filter((name) => read[name]).length;
    for (const place of document.querySelectorAll(".chapters-read")) {
      place.textContent = `${bar.value} of ${chapters.length} chapters read`;
    }
    for (const link of document.querySelectorAll(".bd-docs-nav .toctree-l1 > a")) {
      const name = link.href.replace(/#.*/, "").split("/").pop().replace(".html", "");
      const now = link.classList.contains("current") && box ? box.dataset.chapter : name;
      link.classList.toggle("read", Boolean(read[now]));
    }
    if (box) box.checked = Boolean(read[box.dataset.chapter]);
  }

  function mark(value) {
    read[box.dataset.chapter] = value;
    try { localStorage.setItem(key, JSON.stringify(read)); } catch { /* a private window */ }
    show();
  }

  show();
  if (!box) return;
  box.addEventListener("change", () => mark(box.checked));
  new IntersectionObserver(([end]) => {
    if (end.isIntersecting && !(box.dataset.chapter in read)) mark(true);
  }).observe(box);
})();
