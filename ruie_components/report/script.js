"use strict";
(() => {
  const articles = [...document.querySelectorAll("article")];
  const entries = [...document.querySelectorAll(".index li")];
  const search = document.getElementById("search");
  const label = document.getElementById("label");
  const problem = document.getElementById("problem");
  const status = document.getElementById("status");

  function matches(article, words) {
    const labels = JSON.parse(article.dataset.labels);
    const problems = article.dataset.problems.split(" ");
    return (
      (!label.value || labels.includes(label.value)) &&
      (!problem.value || problems.includes(problem.value)) &&
      words.every((word) => article.dataset.words.includes(word))
    );
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    articles.forEach((article, i) => {
      const visible = matches(article, words);
      article.hidden = entries[i].hidden = !visible;
      shown += visible ? 1 : 0;
    });
    status.textContent = `${shown} of ${articles.length} shown`;
  }

  // Arcs from the head of each relation to its tail, drawn once a text comes into view. An arc from line to line would
  // cross words; the numbers of the tags connect these two.
  function drawArcs(text) {
    text.querySelector("svg")?.remove();
    const first = (span) => span.getClientRects()[0]; // of a wrapped span its first line
    const pairs = [...text.querySelectorAll("[data-head]")]
      .map((head) => [head, text.querySelector(`[data-tail="${head.dataset.head}"]`)])
      .filter(([head, tail]) => tail && Math.abs(first(head).top - first(tail).top) < 4);
    text.classList.toggle("arcs", pairs.length > 0);
    if (!pairs.length) return;
    const origin = text.getBoundingClientRect();
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("aria-hidden", "true");
    pairs.forEach(([head, tail]) => {
      const [a, b] = [first(head), first(tail)];
      const y = a.top - origin.top;
      const [x1, x2] = [a, b].map((box) => box.left + Math.min(box.width, 24) / 2 - origin.left);
      const top = y - Math.min(30, 10 + Math.abs(x2 - x1) / 12);
      const path = document.createElementNS(space, "path");
      path.setAttribute("d", `M${x1},${y} C${x1},${top} ${x2},${top} ${x2},${y} m-4,-6 l4,6 l4,-6`);
      svg.append(path);
    });
    text.prepend(svg);
  }

  const observer = new IntersectionObserver((seen) => {
    seen.filter((one) => one.isIntersecting).forEach((one) => drawArcs(one.target));
  });
  document.querySelectorAll(".result-text").forEach((text) => observer.observe(text));
  addEventListener("resize", () => {
    document.querySelectorAll(".result-text").forEach(drawArcs);
  });

  // A button shows and hides what follows it. The browser's own search shows it too, before it scrolls there.
  function unfold(button, isShown) {
    button.setAttribute("aria-expanded", isShown);
    button.nextElementSibling.hidden = isShown ? false : "until-found";
  }
  addEventListener("click", (event) => {
    const button = event.target.closest(".fold");
    if (button) unfold(button, button.getAttribute("aria-expanded") !== "true");
  });
  document.addEventListener("beforematch", (event) => {
    const folded = event.target.closest(".folded");
    if (folded) unfold(folded.previousElementSibling, true);
  });

  // j and k go to the next and the previous result.
  addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const visible = articles.filter((article) => !article.hidden);
    const next = visible[visible.indexOf(document.activeElement) + step];
    if (next) next.focus();
  });

  [search, label, problem].forEach((control) => control.addEventListener("input", filter));
  filter();
})();
