// What is wider than its box scrolls, and must do so by keyboard, too. The theme measures every box of a page when it
// has loaded, which takes a phone a second; here each is measured when it is laid out, as it comes near or is opened.
const boxes = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    box.tabIndex = scrolls ? 0 : -1;
  }
});
for (const box of document.querySelectorAll("article :is(pre, .output, .pst-scrollable-table-container)")) {
  boxes.observe(box);
}
