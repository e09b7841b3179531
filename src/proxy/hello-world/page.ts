/** The page that `npm start` shows, its style and its script: three texts, nothing from anywhere else. */

export interface DemoRequest {
  readonly method: string;
  readonly path: string;
  /** Which of the tunnel's connections brought it; undefined when it came without a tunnel. */
  readonly connIndex: number | undefined;
  /** Name and value, in the order received. */
  readonly fields: readonly (readonly [string, string])[];
}

/** No inline script or style, nothing from elsewhere, in nobody's frame; the icon is a data URL. */
export const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}

export function renderPage(request: DemoRequest): string {
  const { connIndex } = request;
  const way = connIndex === undefined ? "no tunnel" : `tunnel connection ${connIndex}`;
  const rows = request.fields.map(
    ([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Underpass demo</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M1 14a7 8 0 0 1 14 0h-3a4 5 0 0 0-8 0z' fill='%23d9622b'/%3E%3C/svg%3E">
<link rel="stylesheet" href="/demo.css">
<script src="/demo.js" defer></script>
</head>
<body>
<main>
<h1>It works.</h1>
<p class="lead">This page was made by a function in the connector&rsquo;s own process. No port was opened for it.</p>
<ol class="way" aria-label="The way of this request">
<li>your browser</li><li>the edge</li><li class="here">${way}</li><li>this page</li>
</ol>

<section aria-labelledby="clock-title">
<h2 id="clock-title">A live clock</h2>
<p><time id="clock">waiting</time></p>
<p class="note">Server-sent events: each one is passed on the moment it is written.</p>
</section>

<section aria-labelledby="echo-title">
<h2 id="echo-title">A WebSocket echo</h2>
<form id="echo">
<label for="message">Message</label>
<input id="message" type="text" autocomplete="off" maxlength="1000" required>
<button type="submit">Send</button>
</form>
<ul id="echo-log" role="log" aria-label="Echoes"></ul>
</section>

<section aria-labelledby="request-title">
<h2 id="request-title">What arrived</h2>
<p><code>${escapeHtml(request.method)} ${escapeHtml(request.path)}</code></p>
<div class="scroll" role="region" aria-labelledby="request-title" tabindex="0">
<table><tbody>
${rows.join("\n")}
</tbody></table>
</div>
<p class="note">Reload: the edge picks one of the connections each time.
Try <code>curl -d hello</code> on <code>/echo</code>, too.</p>
</section>
</main>
</body>
</html>
`;
}

export const stylesheet = `:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --ink: #1d1b19; --quiet: #67615a; --line: #e2ddd5; --accent: #b3461a; --card: #fff;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #171614; --ink: #ece8e2; --quiet: #a39c92; --line: #35322d; --accent: #f0935f; --card: #1f1d1b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: clamp(1.5rem, 6vw, 4rem) 1.25rem; }
h1 { margin: 0; font-size: clamp(2.5rem, 9vw, 4rem); line-height: 1.1; letter-spacing: -0.03em; }
h2 { margin: 0 0 0.5rem; font-size: 1.05rem; }
p { margin: 0.5rem 0; }
.lead { font-size: 1.15rem; color: var(--quiet); }
.note { font-size: 0.875rem; color: var(--quiet); }
.way { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 1.5rem 0; padding: 0; list-style: none; font-size: 0.9rem; }
.way li { padding: 0.2rem 0.75rem; border: 1px solid var(--line); border-radius: 99px; background: var(--card); }
.way .here { border-color: var(--accent); color: var(--accent); font-weight: 600; }
section { margin-top: 1rem; padding: 1.25rem; border: 1px solid var(--line); border-radius: 0.75rem; background: var(--card); }
#clock { font-size: 2rem; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
form { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; }
input { flex: 1 1 12rem; min-width: 0; padding: 0.5rem 0.75rem; border: 1px solid var(--quiet); border-radius: 0.5rem; background: var(--paper); color: inherit; font: inherit; }
button { padding: 0.5rem 1.1rem; border: 0; border-radius: 0.5rem; background: var(--accent); color: var(--card); font: inherit; font-weight: 600; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#echo-log { margin: 0.75rem 0 0; padding: 0; list-style: none; max-height: 12rem; overflow: auto; overflow-wrap: anywhere; }
#echo-log span { color: var(--quiet); font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font: 0.85rem/1.5 ui-monospace, monospace; }
th, td { padding: 0.3rem 0.75rem 0.3rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
th { white-space: nowrap; font-weight: 400; color: var(--quiet); }
td { min-width: 14rem; overflow-wrap: anywhere; }
`;

export const script = `"use strict";
const clock = document.getElementById("clock");
new EventSource("/clock").addEventListener("message", ({ data }) => {
  clock.dateTime = data;
  clock.textContent = new Date(data).toLocaleTimeString();
});

const log = document.getElementById("echo-log");
const message = document.getElementById("message");
const sent = [];
let socket;

function show(text, detail) {
  const item = document.createElement("li");
  const note = document.createElement("span");
  note.textContent = detail;
  item.append(text, " ", note);
  log.prepend(item);
  if (log.children.length > 50) log.lastChild.remove();
}

function connect() {
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.addEventListener("open", () => {
    for (const { text } of sent) socket.send(text);
  });
  socket.addEventListener("message", ({ data }) => {
    const { at } = sent.shift() ?? { at: performance.now() };
    show(data, (performance.now() - at).toFixed(0) + " ms");
  });
  socket.addEventListener("close", () => {
    for (const { text } of sent.splice(0)) show(text, "connection lost");
  });
}

document.getElementById("echo").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value;
  sent.push({ text, at: performance.now() });
  if (socket.readyState > WebSocket.OPEN) connect();
  else if (socket.readyState === WebSocket.OPEN) socket.send(text);
  message.value = "";
});
connect();
`;
