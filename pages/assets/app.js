// What pages do better with a script: copying, times as the reader's own, playing notes. All of them work without it.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const text = button.parentElement.querySelector("pre");
  if (!navigator.clipboard || !text) continue;
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

const units = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (isNaN(at)) continue;
  const seconds = (at - Date.now()) / 1000;
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  time.title = at.toLocaleString();
  time.textContent = unit === "second" ? "just now" : relative.format(Math.round(seconds / length), unit);
}

// Menus close as readers expect: with Escape, and by a click elsewhere.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll(".menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

let stopPlaying = () => {};
for (const midi of document.querySelectorAll(".midi")) {
  const button = midi.querySelector("[data-play]");
  let notes;
  try { notes = JSON.parse(midi.querySelector("script").textContent); } catch { continue; }
  if (!button || !window.AudioContext || !notes.length) continue;
  button.hidden = false;
  let isPlaying = false;
  button.addEventListener("click", () => {
    const wasPlaying = isPlaying;
    stopPlaying();
    if (!wasPlaying) play();
  });

  function play() {
    const audio = new AudioContext();
    const out = audio.createDynamicsCompressor();
    out.connect(audio.destination);
    const begin = audio.currentTime + 0.1;
    const end = Math.max(...notes.map(([start, length]) => start + length));
    const roll = midi.querySelector(".roll");
    const head = roll.querySelector(".now");
    const box = midi.querySelector(".rollbox");
    const marks = JSON.parse(head.dataset.marks || "[]");
    let next = 0;
    isPlaying = true;
    button.textContent = "Stop";
    head.removeAttribute("hidden");
    // Notes are scheduled shortly before they sound, so a long piece needs no thousand oscillators at once.
    const timer = setInterval(() => {
      const now = audio.currentTime - begin;
      for (; next < notes.length && notes[next][0] < now + 0.5; next++) sound(audio, out, begin, notes[next]);
      const x = place(marks, now);
      head.setAttribute("d", `M${x} 0V${roll.getAttribute("height")}`);
      if (x + 60 > box.scrollLeft + box.clientWidth || x + 44 < box.scrollLeft) box.scrollLeft = x - 60;
      if (now > end + 0.3) stopPlaying();
    }, 40);
    stopPlaying = () => {
      clearInterval(timer);
      audio.close();
      isPlaying = false;
      button.textContent = "Play";
      head.setAttribute("hidden", "");
      stopPlaying = () => {};
    };
  }
}

// Where the roll is at a time: between the marks [second, x] around it.
function place(marks, now) {
  let [from, to] = [[0, 0], [1, 0]];
  for (const mark of marks) {
    to = mark;
    if (mark[0] > now) break;
    from = mark;
  }
  const part = to[0] > from[0] ? (now - from[0]) / (to[0] - from[0]) : 0;
  return (from[1] + (to[1] - from[1]) * Math.min(Math.max(part, 0), 1)).toFixed(1);
}

function sound(audio, out, begin, [start, length, key, velocity]) {
  const at = Math.max(begin + start, audio.currentTime);
  const until = at + Math.max(length, 0.05);
  const tone = audio.createOscillator();
  const gain = audio.createGain();
  tone.type = "triangle";
  tone.frequency.value = 440 * 2 ** ((key - 69) / 12);
  const loud = 0.3 * (velocity / 127) ** 1.5 + 0.02;
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(loud, at + 0.01);
  gain.gain.setTargetAtTime(loud * 0.6, at + 0.01, 0.25);
  gain.gain.setTargetAtTime(0, until, 0.04);
  tone.connect(gain).connect(out);
  tone.start(at);
  tone.stop(until + 0.3);
}
