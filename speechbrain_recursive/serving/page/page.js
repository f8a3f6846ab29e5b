// The page: a recording goes in; its words, their times and the compute follow the slider.
import { decoded, microphone, pcm } from "./audio.js";
import { keys, show } from "./words.js";

const WAIT = 120; // ms for which the slider rests before a request
const at = (id) => document.getElementById(id);
const server = await (await fetch("health")).json();
const { axis, depths, trained, limits } = server;
let audio = null; // { file, answers }: what was dropped or recorded, with the answers by depth and decoder
let shown = null; // { audio, depth, words }: what stands on the page
let request = null; // the AbortController of what was asked last
let timer = 0;

const depth = () => depths[at("depth").value];
const named = (n) => (axis === "depth" ? `depth ${n}` : n === 1 ? "1 loop" : `${n} loops`);
const percent = (index) => `${(100 * index) / Math.max(1, depths.length - 1)}%`;
const place = (nodes) => nodes.forEach((node, index) => (node.style.left = percent(index)));

// --- what the server has

document.title = `${server.model} – transcribe`;
at("model").textContent = server.model;
at("about").textContent = [`${server.sample_rate / 1000} kHz`, server.language].filter(Boolean).join(" · ");
at("key-field").hidden = !server.key;
at("key").value = sessionStorage.getItem("key") ?? "";
at("key").addEventListener("change", () => sessionStorage.setItem("key", at("key").value));
at("key-field").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("depth-title").firstElementChild.textContent = axis === "loops" ? "Loops" : "Logical depth";
at("depth").max = depths.length - 1;
at("depth").value = depths.indexOf(trained);
at("depth").disabled = depths.length < 2;
at("decoder").append(...server.decoders.map((name) => new Option(name, name)));
at("decoder").value = server.decoder;
const few = depths.length <= 13;
at("ticks").append(
  ...depths.map((n, index) => {
    const ends = index === 0 || index === depths.length - 1;
    const text = few || ends || n === trained ? n : "";
    return Object.assign(document.createElement("span"), { textContent: text, className: n === trained ? "trained" : "" });
  }),
);
place([...at("ticks").children]);

// --- the error rates of the report, and the compute

function rates() {
  const known = server.error_rates?.rates[at("decoder").value] ?? {};
  const most = Math.max(...Object.values(known));
  const bars = depths.map((n) => {
    const bar = document.createElement("i");
    bar.style.height = n in known ? `${Math.max(4, (100 * known[n]) / most)}%` : 0;
    bar.classList.toggle("here", n === depth());
    return bar;
  });
  at("rates").replaceChildren(...(Object.keys(known).length ? bars : []));
  place(bars);
  const label = server.error_rates?.metric.toUpperCase();
  const where = server.error_rates?.synthetic ? "its report (synthetic speech)" : "its report";
  at("rate").textContent = !Object.keys(known).length
    ? ""
    : depth() in known
      ? `${label} ${known[depth()].toFixed(1)}% in ${where}`
      : `no ${label} at ${named(depth())} in its report`;
  at("value").textContent = depth() === trained ? `${depth()} (trained)` : depth();
  at("depth").setAttribute("aria-valuetext", named(depth()) + (depth() === trained ? ", as trained" : ""));
}

function compute(answer) {
  const each = answer.multiply_adds / answer.duration;
  const scale = Math.max(2 * server.multiply_adds_per_second, each);
  const ratio = each / server.multiply_adds_per_second;
  at("adds").textContent = amount(answer.multiply_adds);
  at("time").textContent = `${(1000 * answer.processing_seconds).toPrecision(3)} ms`;
  at("factor").textContent = answer.real_time_factor.toPrecision(2);
  at("used").style.width = `${(100 * each) / scale}%`;
  at("mark").style.left = `${(100 * server.multiply_adds_per_second) / scale}%`;
  at("mark").hidden = false;
  at("relative").textContent =
    `${ratio.toFixed(2)} × the trained depth (the mark); ${amount(each)} multiply-adds per second of audio`;
}

function amount(n) {
  const [size, unit] = n >= 1e12 ? [1e12, "T"] : n >= 1e9 ? [1e9, "G"] : [1e6, "M"];
  return `${(n / size).toPrecision(3)} ${unit}`;
}

// --- a recording, and the answers for it

function take(file, name) {
  audio = { file, name, answers: new Map() };
  URL.revokeObjectURL(at("player").src);
  at("player").src = URL.createObjectURL(file);
  at("player").hidden = false;
  at("name").textContent = name;
  ask();
}

// The answer for what the controls say now: seen before, or asked for. The last one asked for wins.
async function ask() {
  request?.abort();
  if (!audio) return;
  const [mine, wanted, decoder] = [audio, depth(), at("decoder").value];
  const key = `${wanted} ${decoder}`;
  const own = (request = new AbortController());
  fail("");
  try {
    if (!mine.answers.has(key)) {
      at("words").classList.add("waiting");
      at("status").textContent = `transcribing at ${named(wanted)} …`;
      mine.answers.set(key, await transcribe(mine, wanted, decoder, own.signal));
    }
    if (own === request) answer(mine, wanted, mine.answers.get(key));
  } catch (error) {
    if (own === request) fail(error.message);
  } finally {
    if (own === request) at("words").classList.remove("waiting");
  }
}

async function transcribe(recording, wanted, decoder, signal) {
  if (recording.file.size > limits.bytes) {
    throw new Error(`${recording.name} has more than ${limits.bytes / 1e6} MB, the limit of this server`);
  }
  const form = new FormData();
  form.append("file", recording.file, "audio");
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("decoder", decoder);
  if (wanted !== trained) form.append(axis, wanted);
  const headers = server.key ? { Authorization: `Bearer ${at("key").value}` } : {};
  const response = await fetch("v1/audio/transcriptions", { method: "POST", body: form, headers, signal });
  const body = await response.json();
  if (response.ok) return body;
  if (response.status === 401) throw new Error("this server asks for its key: type it at the top of the page");
  if (/cannot be read as audio/.test(body.error.message) && !recording.decoded) {
    try { // perhaps the browser can read it
      Object.assign(recording, { file: await decoded(recording.file, server.sample_rate), decoded: true });
    } catch {
      throw new Error(body.error.message.replace(/^file/, recording.name));
    }
    return transcribe(recording, wanted, decoder, signal);
  }
  throw new Error(body.error.message.replace(/^file/, recording.name));
}

function answer(recording, wanted, body) {
  const before = shown?.audio === recording ? shown : null;
  const changes = show(at("words"), body.words, before?.words, play);
  const compared = before !== null && before.depth !== wanted;
  at("legend").hidden = !body.words.length;
  at("changes").hidden = !compared;
  if (compared) at("since").textContent = changes ? `changed since ${named(before.depth)}; struck out: gone` : `as at ${named(before.depth)}`;
  at("status").textContent = `${body.words.length} words, ${body.duration.toFixed(1)} s, ${named(wanted)}, ${body.decoder}`;
  at("copy").disabled = !body.text;
  compute(body);
  shown = { audio: recording, depth: wanted, words: body.words, text: body.text };
}

function fail(message) {
  at("error").hidden = !message;
  at("error").textContent = message;
  if (message) at("status").textContent = "";
}

// --- playing

function play(word) {
  at("player").currentTime = word.start;
  at("player").play().catch(() => fail("this browser cannot play the file; its words are right even so"));
}

at("player").addEventListener("timeupdate", () => {
  const now = at("player").currentTime;
  const nodes = at("words").querySelectorAll(".word");
  const here = shown?.words.findIndex((word) => word.start <= now && now < word.end) ?? -1;
  nodes.forEach((node, index) => node.classList.toggle("playing", index === here && !at("player").paused));
});

// --- recording, with words at once if the model can stream

let open = null; // the microphone, and the stream if there is one

async function record() {
  if (open) return stop();
  at("record").disabled = true;
  let [count, stream] = [0, null];
  try {
    fail("");
    const device = await microphone(server.sample_rate, (block, level) => {
      count += block.length;
      const seconds = count / device.rate;
      at("level").style.transform = `scaleX(${Math.min(1, Math.max(0, 1 + Math.log10(level + 1e-9) / 2.5))})`;
      at("clock").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
      stream?.send(block);
      if (seconds > limits.seconds - 1 && open) stop();
    });
    if (server.streaming) stream = live(device.rate);
    open = { device, stream };
    at("record").setAttribute("aria-pressed", "true");
    at("record-text").textContent = "Stop";
    at("status").textContent = stream ? "listening …" : "recording …";
    at("words").classList.add("waiting");
  } catch (error) {
    fail(`no recording: ${error.message}`);
  } finally {
    at("record").disabled = false;
  }
}

async function stop() {
  const { device, stream } = open;
  open = null;
  at("record").setAttribute("aria-pressed", "false");
  at("record-text").textContent = "Record";
  at("level").style.transform = "scaleX(0)";
  const file = await device.stop();
  await stream?.finish();
  take(file, `recording of ${at("clock").textContent}`);
}

// A stream of live words: send(block) and finish().
function live(rate) {
  const query = new URLSearchParams({ rate, ...(depth() === trained ? {} : { [axis]: depth() }) });
  const address = new URL(`v1/audio/stream?${query}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, ["transcribe", ...(server.key ? [`key.${at("key").value}`] : [])]);
  const waiting = [];
  let last = "";
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  socket.addEventListener("open", () => waiting.splice(0).forEach((data) => socket.send(data)));
  socket.addEventListener("message", ({ data }) => {
    const body = JSON.parse(data);
    if (body.type === "error") return fail(body.error.message);
    at("words").classList.remove("waiting");
    if (data !== last) {
      show(at("words"), body.words, null, play);
      const settled = [" ", ""].map((space) => body.words.map((word) => word.word).join(space));
      const rest = body.text.slice(settled.find((text) => body.text.startsWith(text))?.length).trim();
      at("words").append(Object.assign(document.createElement("span"), { className: "rest", textContent: rest }));
    }
    last = data;
    at("status").textContent = body.type === "partial" ? "listening …" : "";
  });
  const send = (data) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(data);
    else if (socket.readyState === WebSocket.CONNECTING) waiting.push(data);
  };
  let held = []; // a few blocks make a message
  return {
    send(block) {
      held.push(...pcm(block));
      if (held.length >= rate / 10) send(Int16Array.from(held.splice(0)));
    },
    finish() {
      send(Int16Array.from(held));
      send(JSON.stringify({ type: "finish" }));
      return closed;
    },
  };
}

// --- controls

at("record").addEventListener("click", record);
at("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0], target.files[0].name);
  target.value = "";
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      take(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
    }
  });
}
at("depth").addEventListener("input", () => {
  rates();
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT);
});
at("decoder").addEventListener("change", () => {
  rates();
  ask();
});
at("copy").addEventListener("click", () => navigator.clipboard.writeText(shown.text));
keys(at("words"));
rates();
