"use strict";
// Draws the page from the JSON in #data. Text from the trace reaches the page as text only (textContent, canvas).
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [, width, bins] = data.bounds;
  const $ = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const PALETTE = ["#3b7dd8", "#e0792b", "#3c9e57", "#c8456b", "#8460c4", "#9a7a1c", "#1e9aa8", "#b04fb0", "#6c8a1f", "#4a5f8f"];
  const OTHER = "#8a929b";
  const ROWS_MAX = 40, LEFT = 240, RIGHT = 12, FIRST_ROWS = 100, MORE_ROWS = 500;
  const hidden = new Set();
  let view = [0, bins], drag = null, shown = FIRST_ROWS;

  const color = (event) => (event < PALETTE.length ? PALETTE[event] : OTHER);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const el = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const took = (ns) => {
    for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
      if (Math.abs(ns) >= size) return `${+(ns / size).toPrecision(4)} ${unit}`;
    return `${Math.round(ns)} ns`;
  };
  const many = (count, what) => `${number.format(count)} ${what}${count === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;
  const short = (count) =>
    count >= 1e6 ? `${+(count / 1e6).toPrecision(3)} M` : count >= 1e4 ? `${+(count / 1e3).toPrecision(3)} k` : number.format(Math.round(count));

  // Counts: dense arrays by process and event, by CPU.
  const dense = (sparse) => {
    const found = new Float64Array(bins);
    for (let at = 0; at < sparse.length; at += 2) found[sparse[at]] = sparse[at + 1];
    return found;
  };
  const cells = data.counts.map(([process, event, sparse]) => ({ process, event, bins: dense(sparse) }));
  const cpus = data.cpus.map(([cpu, sparse]) => ({ cpu, bins: dense(sparse) }));
  const sum = (values, from = 0, to = values.length) => {
    let total = 0;
    for (let at = from; at < to; at++) total += values[at];
    return total;
  };
  for (const cell of cells) cell.total = sum(cell.bins);
  for (const cpu of cpus) cpu.total = sum(cpu.bins);
  const eventTotals = data.events.map((_, event) => cells.filter((c) => c.event === event).reduce((n, c) => n + c.total, 0));

  // Rows of the timeline: processes, the rest of them together, CPUs.
  const rows = (() => {
    const processes = data.processes.map(([pid, name], process) => {
      const mine = cells.filter((cell) => cell.process === process);
      return { label: `${name} (${pid})`, cells: mine, total: mine.reduce((n, c) => n + c.total, 0) };
    });
    processes.sort((a, b) => b.total - a.total);
    const found = processes.slice(0, ROWS_MAX);
    const rest = processes.slice(ROWS_MAX);
    if (rest.length)
      found.push({ label: `${rest.length} more processes`, cells: rest.flatMap((row) => row.cells), total: rest.reduce((n, r) => n + r.total, 0) });
    for (const { cpu, bins: counts, total } of cpus) found.push({ label: `CPU ${cpu}`, cpu: counts, cells: [], total });
    return found;
  })();

  // Canvases are drawn at the resolution of the screen, and anew whenever their size or the colours change.
  const begin = (canvas, height) => {
    const ratio = window.devicePixelRatio || 1, wide = canvas.clientWidth || canvas.parentElement.clientWidth;
    canvas.style.height = `${height}px`;
    canvas.width = Math.max(1, Math.round(wide * ratio));
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, wide, height);
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = "middle";
    return [pen, wide];
  };
  const fit = (pen, text, room) => {
    if (pen.measureText(text).width <= room) return text;
    let size = text.length;
    while (size > 1 && pen.measureText(text.slice(0, size) + "…").width > room) size--;
    return text.slice(0, size) + "…";
  };
  const niceStep = (span, parts) => {
    const rough = span / parts, power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  };
  const timeAxis = (pen, wide, top, bottom) => {
    const from = view[0] * width, span = (view[1] - view[0]) * width, step = niceStep(span, Math.max(2, wide / 160));
    pen.strokeStyle = css("--line");
    pen.fillStyle = css("--soft");
    pen.textAlign = "center";
    for (let at = Math.ceil(from / step) * step; at <= from + span; at += step) {
      const x = LEFT + ((at - from) / span) * (wide - LEFT - RIGHT);
      pen.beginPath();
      pen.moveTo(x, top);
      pen.lineTo(x, bottom);
      pen.stroke();
      pen.fillText(at === 0 ? "0" : took(at), Math.min(x, wide - 24), bottom + 10);
    }
  };
  // Sum what falls into each pixel column, so that nothing is skipped however wide the view.
  const columns = (counts, pixels) => {
    const found = new Float64Array(pixels), scale = pixels / (view[1] - view[0]);
    for (let bin = Math.floor(view[0]); bin < Math.ceil(view[1]); bin++) {
      if (!counts[bin]) continue;
      const from = Math.max(0, (bin - view[0]) * scale), to = Math.min(pixels, (bin + 1 - view[0]) * scale);
      if (to - from <= 1) found[Math.min(pixels - 1, Math.floor(from))] += counts[bin];
      else for (let x = Math.floor(from); x < to; x++) found[x] += counts[bin] / (to - from);
    }
    return found;
  };

  // When flight rules held: a line through the timeline for each time, and the rule's text beside it. One text serves
  // for times of one rule that it reaches over; texts of several rules stand above each other where they would meet.
  const LANE = 15;
  const ruleTexts = (pen, pixels, times) => {
    const found = [], last = new Map();
    for (const [rule, part] of times) {
      const x = LEFT + part * pixels, size = pen.measureText(fit(pen, ` ${rule} `, pixels / 3)).width;
      const left = part > 0.7 ? x - size : x, before = last.get(rule);
      if (before && left < before.left + before.size) before.times++;
      else found.push({ rule, left, size, times: 1 }), last.set(rule, found[found.length - 1]);
    }
    for (const text of found) {
      text.said = fit(pen, text.times > 1 ? ` ${text.rule} ×${text.times} ` : ` ${text.rule} `, pixels / 3);
      text.size = pen.measureText(text.said).width;
    }
    return found.sort((a, b) => a.left - b.left);
  };
  const drawRules = (pen, pixels, bottom) => {
    const times = data.rules.map(([rule, offset]) => [rule, (offset / width - view[0]) / (view[1] - view[0])])
      .filter(([, part]) => part >= 0 && part <= 1).sort(([, a], [, b]) => a - b);
    pen.strokeStyle = css("--bad-line");
    pen.setLineDash([5, 3]);
    for (const [, part] of times) {
      pen.beginPath();
      pen.moveTo(LEFT + part * pixels, 0);
      pen.lineTo(LEFT + part * pixels, bottom);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.textAlign = "left";
    const ends = Array(Math.max(1, Math.floor(bottom / LANE))).fill(-Infinity);
    for (const { said, left, size } of ruleTexts(pen, pixels, times)) {
      const lane = ends.findIndex((end) => end <= left);
      if (lane < 0) continue; // the line is there; a closer look makes room for the text
      ends[lane] = left + size;
      const middle = bottom - LANE * (lane + 0.5);
      pen.globalAlpha = 0.85;
      pen.fillStyle = css("--bg");
      pen.fillRect(left, middle - LANE / 2, size, LANE);
      pen.globalAlpha = 1;
      pen.fillStyle = css("--bad-line");
      pen.fillText(said, left, middle);
    }
  };

  const ROW = 24, GAP = 5;
  const drawTimeline = () => {
    const canvas = $("timeline"), height = rows.length * (ROW + GAP) + 28;
    const [pen, wide] = begin(canvas, height);
    const pixels = Math.max(1, Math.floor(wide - LEFT - RIGHT)), bottom = height - 24;
    timeAxis(pen, wide, 0, bottom);
    const drawn = rows.map((row) =>
      row.cpu
        ? [{ color: css("--soft"), counts: columns(row.cpu, pixels) }]
        : row.cells.filter((cell) => !hidden.has(cell.event)).map((cell) => ({ color: color(cell.event), counts: columns(cell.bins, pixels) })));
    const totals = drawn.map((parts) => {
      const all = new Float64Array(pixels);
      for (const part of parts) for (let x = 0; x < pixels; x++) all[x] += part.counts[x];
      return all;
    });
    const most = Math.max(1e-9, ...totals.map((all) => all.reduce((a, b) => Math.max(a, b), 0)));
    rows.forEach((row, place) => {
      const top = place * (ROW + GAP), base = top + ROW;
      pen.fillStyle = css("--band");
      pen.fillRect(LEFT, top, pixels, ROW);
      for (let x = 0; x < pixels; x++) {
        const all = totals[place][x];
        if (!all) continue;
        const full = Math.max(2, (ROW * Math.log1p(all)) / Math.log1p(most));
        let y = base;
        for (const part of drawn[place]) {
          const size = (full * part.counts[x]) / all;
          if (!size) continue;
          pen.fillStyle = part.color;
          pen.fillRect(LEFT + x, y - size, 1, size);
          y -= size;
        }
      }
      pen.textAlign = "left";
      pen.fillStyle = css("--fg");
      const count = short(row.total), room = pen.measureText(count).width;
      pen.fillText(fit(pen, row.label, LEFT - room - 20), 0, top + ROW / 2);
      pen.textAlign = "right";
      pen.fillStyle = css("--soft");
      pen.fillText(count, LEFT - 8, top + ROW / 2);
    });
    drawRules(pen, pixels, bottom);
    if (drag) {
      const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      pen.globalAlpha = 0.2;
      pen.fillStyle = css("--accent");
      pen.fillRect(from, 0, to - from, bottom);
      pen.globalAlpha = 1;
    }
    canvas.setAttribute("aria-label", `Timeline of ${data.processes.length} processes and ${cpus.length} CPUs, ${$("range").textContent}`);
  };

  const drawRate = () => {
    const [pen, wide] = begin($("rate"), 190);
    const pixels = Math.max(1, Math.floor(wide - LEFT - RIGHT)), top = 8, bottom = 162;
    timeAxis(pen, wide, top, bottom);
    const perColumn = ((view[1] - view[0]) * width) / pixels / 1e9;
    const lines = data.events.map((name, event) => ({ name, event })).filter(({ event }) => !hidden.has(event)).slice(0, PALETTE.length);
    const step = Math.max(1, Math.round(pixels / 300)); // a point for every few pixels, so that lines are lines
    let most = 0;
    for (const line of lines) {
      const all = new Float64Array(pixels);
      for (const cell of cells) if (cell.event === line.event) columns(cell.bins, pixels).forEach((n, x) => (all[x] += n));
      line.points = [];
      for (let x = 0; x < pixels; x += step) {
        const size = Math.min(step, pixels - x), rate = sum(all, x, x + size) / (perColumn * size);
        line.points.push([x + size / 2, rate]);
        most = Math.max(most, rate);
      }
    }
    const tick = niceStep(most || 1, 4), high = Math.max(tick, Math.ceil(most / tick) * tick);
    pen.textAlign = "right";
    for (let at = 0; at <= high; at += tick) {
      const y = bottom - (at / high) * (bottom - top);
      pen.strokeStyle = css("--line");
      pen.beginPath();
      pen.moveTo(LEFT, y);
      pen.lineTo(LEFT + pixels, y);
      pen.stroke();
      pen.fillStyle = css("--soft");
      pen.fillText(tick < 1 ? at.toPrecision(2) : short(at), LEFT - 8, y);
    }
    pen.lineWidth = 1.5;
    for (const line of lines) {
      pen.strokeStyle = color(line.event);
      pen.beginPath();
      line.points.forEach(([x, rate], place) => pen[place ? "lineTo" : "moveTo"](LEFT + x, bottom - (rate / high) * (bottom - top)));
      pen.stroke();
    }
    $("rate").setAttribute("aria-label", `Events per second, at most ${short(most)}`);
  };

  // Latency: a histogram with logarithmic buckets, and the same over time.
  const drawLatency = (one, histogram, heat) => {
    if (!one.buckets.length) return;
    const low = Math.max(1, one.buckets[0][0]), high = one.buckets[one.buckets.length - 1][1];
    const place = (ns) => Math.log(Math.max(ns, low) / low) / Math.log(Math.max(high / low, 1.0001));
    const ticks = [];
    for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) ticks.push(10 ** power);
    if (ticks.length < 2) ticks.splice(0, ticks.length, low, Math.sqrt(low * high), high);
    {
      const [pen, wide] = begin(histogram, 180);
      const left = 52, bottom = 154, room = wide - left - RIGHT;
      const most = 1.2 * Math.max(...one.buckets.map(([, , n]) => n)); // the labels stand above the bars
      const tick = Math.max(1, niceStep(most, 3));
      pen.textAlign = "right";
      for (let at = 0; at <= most; at += tick) {
        const y = bottom - (at / most) * (bottom - 8);
        pen.strokeStyle = css("--line");
        pen.beginPath(); pen.moveTo(left, y); pen.lineTo(wide - RIGHT, y); pen.stroke();
        pen.fillStyle = css("--soft");
        pen.fillText(short(at), left - 6, y);
      }
      pen.fillStyle = PALETTE[0];
      for (const [from, to, n] of one.buckets) {
        const x = left + place(from) * room, size = Math.max(1.5, (place(to) - place(from)) * room - 1);
        pen.fillRect(x, bottom - (n / most) * (bottom - 8), size, (n / most) * (bottom - 8));
      }
      pen.textAlign = "center";
      pen.fillStyle = css("--soft");
      for (const at of ticks) pen.fillText(took(at), Math.min(left + place(at) * room, wide - 24), bottom + 12);
      for (const [part, ns] of Object.entries(one.percentiles)) {
        if (part !== "0.5" && part !== "0.99") continue;
        const x = left + place(ns) * room;
        pen.strokeStyle = PALETTE[3];
        pen.setLineDash([4, 3]);
        pen.beginPath(); pen.moveTo(x, 8); pen.lineTo(x, bottom); pen.stroke();
        pen.setLineDash([]);
        pen.fillStyle = css("--fg");
        pen.textAlign = x > wide - 60 ? "right" : "left";
        pen.fillText(` p${100 * part} `, x, part === "0.5" ? 14 : 28);
      }
      histogram.setAttribute("aria-label", `${one.name}: ${number.format(one.spans)} spans from ${took(one.min)} to ${took(one.max)}`);
    }
    const [pen, wide] = begin(heat, 180);
    const left = 62, bottom = 154, room = wide - left - RIGHT, ends = new Map(one.buckets.map(([from, to]) => [from, to]));
    const most = one.over_time.reduce((n, [, , each]) => Math.max(n, each), 1), cell = room / one.bins;
    pen.fillStyle = css("--band");
    pen.fillRect(left, 8, room, bottom - 8);
    pen.fillStyle = PALETTE[0];
    for (const [bin, from, n] of one.over_time) {
      const y = bottom - place(ends.get(from)) * (bottom - 8), size = Math.max(2, (place(ends.get(from)) - place(from)) * (bottom - 8));
      pen.globalAlpha = 0.25 + (0.75 * Math.log1p(n)) / Math.log1p(most);
      pen.fillRect(left + bin * cell, y, Math.max(1, cell), size);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = css("--soft");
    pen.textAlign = "right";
    for (const at of ticks) pen.fillText(took(at), left - 6, Math.max(12, bottom - place(at) * (bottom - 8)));
    pen.textAlign = "center";
    const span = bins * width, step = niceStep(span, 5);
    for (let at = 0; at <= span; at += step)
      pen.fillText(at ? took(at) : "0", Math.min(left + (at / span) * room, wide - 24), bottom + 12);
    heat.setAttribute("aria-label", `${one.name}: latency over time`);
  };
  const latencies = data.latencies.map((one) => {
    const name = el("h3", `${one.name}: from ${one.begin} to ${one.end}${one.key ? `, by ${one.key}` : ""}`);
    const figures = el("div", undefined, "figures");
    const figure = (value, label) => {
      const made = el("div");
      made.append(el("b", value), el("span", label));
      figures.append(made);
    };
    figure(number.format(one.spans), "spans");
    if (one.spans) {
      figure(took(one.min), "shortest");
      for (const [part, ns] of Object.entries(one.percentiles)) figure(took(ns), `p${+(100 * part).toFixed(1)}`);
      figure(took(one.max), "longest");
      figure(took(one.mean), "mean");
    }
    figure(number.format(one.begins_alone), "begins without an end");
    figure(number.format(one.ends_alone), "ends without a begin");
    const pair = el("div", undefined, "pair"), histogram = el("canvas"), heat = el("canvas");
    for (const [title, canvas] of [["How many took how long", histogram], ["How long, over time", heat]]) {
      const half = el("div");
      canvas.setAttribute("role", "img");
      half.append(el("span", title, "hint"), canvas);
      pair.append(half);
    }
    $("latencies").append(name, figures);
    if (one.spans) $("latencies").append(pair);
    return () => drawLatency(one, histogram, heat);
  });
  $("latency").hidden = !latencies.length;

  // The table.
  const first = BigInt(data.about.first_ns);
  const seconds = (offset) => {
    const ns = first + BigInt(offset), text = String(ns < 0n ? -ns : ns).padStart(10, "0");
    return `${ns < 0n ? "-" : ""}${text.slice(0, -9)}.${text.slice(-9)}`;
  };
  const who = (process) => `${data.processes[process][1]} (${data.processes[process][0]})`;
  const options = (select, all, names) => {
    select.append(new Option(all, ""));
    names.forEach((name, place) => select.append(new Option(name, String(place))));
  };
  options($("by-event"), "all", data.events);
  options($("by-process"), "all", data.processes.map((_, process) => who(process)));
  const fillTable = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const event = $("by-event").value, process = $("by-process").value;
    const from = view[0] * width, to = view[1] * width;
    const found = data.table.rows.filter((row) =>
      row[0] >= from && row[0] < to && !hidden.has(row[4]) && (event === "" || row[4] === +event) && (process === "" || row[2] === +process) &&
      words.every((word) => `${data.events[row[4]]} ${who(row[2])} ${row[5]}`.toLowerCase().includes(word)));
    const body = document.createElement("tbody");
    for (const row of found.slice(0, shown)) {
      const line = body.insertRow();
      for (const text of [seconds(row[0]), row[1], who(row[2]), row[3], data.events[row[4]], row[5]]) line.insertCell().textContent = text;
      line.cells[2].title = line.cells[2].textContent;
    }
    $("records").tBodies[0].replaceWith(body);
    const some = data.table.how.length ? " of the sample" : "";
    $("found").textContent = `${number.format(found.length)} match${found.length === 1 ? "es" : ""}${some}${found.length > shown ? `, the first ${number.format(shown)} shown` : ""}`;
    $("more").hidden = found.length <= shown;
  };

  // What is seen: the range, the events.
  const show = () => {
    const from = view[0] * width, span = (view[1] - view[0]) * width, whole = view[0] === 0 && view[1] === bins;
    const inside = cells.filter((cell) => !hidden.has(cell.event)).reduce((n, cell) => n + sum(cell.bins, Math.floor(view[0]), Math.ceil(view[1])), 0);
    $("range").textContent = whole
      ? `${took(span)}, ${many(inside, "record")}`
      : `${took(span)} from ${took(from)} on, ${many(inside, "record")}`;
    $("reset").hidden = whole;
    draw();
    fillTable();
  };
  const draw = () => {
    drawTimeline();
    drawRate();
    for (const each of latencies) each();
  };
  const look = (from, to) => {
    const size = Math.min(bins, Math.max(1, Math.round(to - from)));
    const start = Math.min(Math.max(0, Math.round(from)), bins - size);
    view = [start, start + size];
    shown = FIRST_ROWS;
    show();
  };
  const binAt = (x) => {
    const room = $("timeline").clientWidth - LEFT - RIGHT;
    return view[0] + (Math.min(Math.max(x - LEFT, 0), room) / room) * (view[1] - view[0]);
  };
  const timeline = $("timeline"), tip = $("tip");
  timeline.addEventListener("pointerdown", (event) => {
    drag = { from: event.offsetX, to: event.offsetX };
    timeline.setPointerCapture(event.pointerId);
  });
  timeline.addEventListener("pointermove", (event) => {
    if (drag) {
      drag.to = event.offsetX;
      drawTimeline();
      return;
    }
    const row = rows[Math.floor(event.offsetY / (ROW + GAP))], bin = Math.floor(binAt(event.offsetX));
    tip.hidden = !row || event.offsetX < LEFT || bin >= bins;
    if (tip.hidden) return;
    const lines = [`${row.label}, ${took(bin * width)} to ${took((bin + 1) * width)}`];
    if (row.cpu) lines.push(many(row.cpu[bin], "record"));
    for (const cell of row.cells) if (cell.bins[bin]) lines.push(`${data.events[cell.event]}: ${number.format(cell.bins[bin])}`);
    if (lines.length === 1) lines.push("nothing");
    tip.textContent = lines.slice(0, 14).join("\n");
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8))}px`;
  });
  timeline.addEventListener("pointerleave", () => (tip.hidden = true));
  timeline.addEventListener("pointerup", () => {
    const { from, to } = drag || { from: 0, to: 0 };
    drag = null;
    if (Math.abs(to - from) > 4) look(Math.floor(binAt(Math.min(from, to))), Math.ceil(binAt(Math.max(from, to))));
    else drawTimeline();
  });
  timeline.addEventListener("pointercancel", () => { drag = null; drawTimeline(); });
  timeline.addEventListener("keydown", (event) => {
    const size = view[1] - view[0], middle = (view[0] + view[1]) / 2;
    const step = Math.max(1, Math.round(size / 5));
    const moves = {
      ArrowLeft: () => look(view[0] - step, view[1] - step),
      ArrowRight: () => look(view[0] + step, view[1] + step),
      "+": () => look(middle - size / 4, middle + size / 4),
      "=": () => look(middle - size / 4, middle + size / 4),
      "-": () => look(middle - size, middle + size),
      Home: () => look(0, size),
      End: () => look(bins - size, bins),
      Escape: () => look(0, bins),
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]();
  });
  $("reset").addEventListener("click", () => look(0, bins));
  $("more").addEventListener("click", () => { shown += MORE_ROWS; fillTable(); });
  for (const id of ["search", "by-event", "by-process"]) $(id).addEventListener("input", () => { shown = FIRST_ROWS; fillTable(); });

  data.events.forEach((name, event) => {
    const label = el("label"), box = el("input"), key = el("span", undefined, "key");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](event); show(); });
    key.style.background = color(event);
    label.append(box, key, el("span", name), el("span", number.format(eventTotals[event]), "n"));
    $("legend").append(label);
  });

  const about = data.about;
  $("title").textContent = about.file;
  const wall = about.wall_ns === null ? "" : new Date(Number(BigInt(about.wall_ns) / 1000000n)).toISOString().replace("T", " ").replace("Z", " UTC");
  $("about").textContent = [
    `${many(about.records, "record")} of ${many(data.events.length, "event")} by ${many(data.processes.length, "process")} in ${took(Number(BigInt(about.last_ns) - first))}`,
    wall && `began ${wall}`, about.host && `on ${about.host}`, about.command && `recorded by: ${about.command}`, `${about.kind}, clock ${about.clock}`,
  ].filter(Boolean).join(" · ");
  $("flight").hidden = !data.flight.length;
  for (const line of data.flight) $("flight").append(el("p", line));
  for (const sentence of data.losses) $("losses").append(el("p", sentence));
  if (!data.losses.length) $("losses").append(el("p", data.ledger ? "Nothing was lost." : "The file tells of no losses.", "good"));
  $("sampled").textContent = data.table.how.length
    ? `A sample: ${number.format(data.table.rows.length)} of ${number.format(data.table.total)} records (${data.table.how.slice(0, 8).join(", ")}${data.table.how.length > 8 ? ", ..." : ""}; the other events are all here). Timeline, rates and latencies count every record.`
    : `All ${number.format(data.table.total)} records.`;
  $("verdict").textContent = data.ledger ? data.ledger.verdict : "none in this file: it was not written by userevents";
  for (const [what, count] of data.ledger ? data.ledger.lines : []) {
    const line = $("ledger-lines").tBodies[0].insertRow();
    line.insertCell().textContent = what;
    const cell = line.insertCell();
    cell.className = "num";
    cell.textContent = number.format(count);
  }
  $("notes").hidden = !data.notes.length;
  for (const note of data.notes) $("notes").querySelector("ul").append(el("li", note));

  let waiting = 0;
  const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); };
  window.addEventListener("resize", soon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  window.addEventListener("beforeprint", draw);
  window.addEventListener("afterprint", draw);
  show();
  document.documentElement.dataset.drawn = "yes";
})();
