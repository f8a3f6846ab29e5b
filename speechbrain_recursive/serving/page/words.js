// Which words changed, and how words are shown.

// Steps from one list of texts to another: ["same" | "new", index in now] or ["gone", index in before].
export function difference(before, now) {
  let start = 0;
  while (start < Math.min(before.length, now.length) && before[start] === now[start]) start++;
  let end = 0;
  const left = Math.min(before.length, now.length) - start;
  while (end < left && before.at(-1 - end) === now.at(-1 - end)) end++;
  const a = before.slice(start, before.length - end);
  const b = now.slice(start, now.length - end);
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const steps = now.slice(0, start).map((_, i) => ["same", i]);
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      steps.push(["same", start + j++]);
      i++;
    } else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1])) {
      steps.push(["gone", start + i++]);
    } else {
      steps.push(["new", start + j++]);
    }
  }
  for (let k = now.length - end; k < now.length; k++) steps.push(["same", k]);
  return steps;
}

// Show words in a box, with marks where they differ from those before; play(word) is what a click does.
export function show(box, words, before, play) {
  const texts = (list) => list.map((word) => word.word);
  const steps = before ? difference(texts(before), texts(words)) : words.map((_, i) => ["same", i]);
  const nodes = steps.map(([kind, index]) => (kind === "gone" ? gone(before[index]) : said(words[index], kind, play)));
  if (!nodes.length) nodes.push(Object.assign(document.createElement("p"), { className: "empty", textContent: "No words." }));
  box.replaceChildren(...nodes);
  const first = box.querySelector(".word");
  if (first) first.tabIndex = 0;
  return steps.filter(([kind]) => kind !== "same").length;
}

function said(word, kind, play) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = kind === "new" ? "word changed" : "word";
  node.tabIndex = -1; // arrow keys move between words
  node.style.setProperty("--confidence", word.confidence);
  node.title = `${word.start.toFixed(2)} to ${word.end.toFixed(2)} s, confidence ${word.confidence.toFixed(2)}`;
  node.append(part("said", word.word), part("at", word.start.toFixed(2)));
  node.addEventListener("click", () => play(word));
  return node;
}

function gone(word) {
  const node = document.createElement("del");
  node.textContent = word.word;
  return node;
}

function part(name, text) {
  return Object.assign(document.createElement("span"), { className: name, textContent: text });
}

// Arrow keys, Home and End move between the words of a box.
export function keys(box) {
  box.addEventListener("keydown", (event) => {
    const all = [...box.querySelectorAll(".word")];
    const here = all.indexOf(document.activeElement);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (here < 0 || all[to] === undefined) return;
    event.preventDefault();
    all[here].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  });
}
