// HTTP/1.x requests read from bytes as they come, for the one port on which Kyoto Tycoon's clients also speak its binary protocol. Only
// what those clients need: a head with a bound, bodies with a length or in chunks, keep-alive.

import { STATUS_TEXTS } from './status.ts';

export interface HttpRequest {
  readonly method: string;
  /** As sent, with the query. */
  readonly target: string;
  /** By lower-case name; of several the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly keepAlive: boolean;
  /** Bytes it took. */
  readonly length: number;
}

export type HttpRead =
  | HttpRequest
  /** `needed`: it is not worth looking again before so many bytes are there. `continue`: the client waits to be told to send its body. */
  | { readonly incomplete: true; readonly needed: number; readonly continue: boolean }
  | { readonly status: 400 | 413 | 431; readonly message: string };

const HEAD_BYTES_MAX = 16 * 1024;

/** Reads one request from the start of `bytes`. */
export function readHttp(bytes: Buffer, bodyBytesMax: number): HttpRead {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) {
    if (bytes.length > HEAD_BYTES_MAX)
      return { status: 431, message: `the head is longer than ${HEAD_BYTES_MAX} bytes` };
    return { incomplete: true, needed: bytes.length + 1, continue: false };
  }
  const [first = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n');
  const line = /^([A-Z]+) (\S+) HTTP\/1\.([01])$/.exec(first);
  if (line === null) return { status: 400, message: 'the first line is no HTTP/1 request' };
  const headers = new Map<string, string>();
  for (const each of lines) {
    const colon = each.indexOf(':');
    if (colon <= 0) return { status: 400, message: 'a header without a colon' };
    headers.set(each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim());
  }
  const start = headEnd + 4;
  const body = readBody(bytes, start, headers, bodyBytesMax);
  if ('status' in body) return body;
  if ('incomplete' in body) {
    const expects = headers.get('expect')?.toLowerCase() === '100-continue';
    return { incomplete: true, needed: body.needed, continue: expects && bytes.length === start };
  }
  const connection = headers.get('connection')?.toLowerCase() ?? '';
  return {
    method: line[1] as string,
    target: line[2] as string,
    headers,
    body: body.bytes,
    keepAlive: line[3] === '1' ? connection !== 'close' : connection === 'keep-alive',
    length: body.end,
  };
}

type Body =
  | { readonly bytes: Buffer; readonly end: number }
  | { readonly incomplete: true; readonly needed: number }
  | { readonly status: 400 | 413; readonly message: string };

function readBody(bytes: Buffer, start: number, headers: ReadonlyMap<string, string>, bodyBytesMax: number): Body {
  const coding = headers.get('transfer-encoding')?.toLowerCase();
  const lengthText = headers.get('content-length');
  if (coding !== undefined) {
    // Both together are how requests are smuggled.
    if (coding !== 'chunked' || lengthText !== undefined)
      return { status: 400, message: 'the body’s length is not clear' };
    return readChunks(bytes, start, bodyBytesMax);
  }
  if (lengthText === undefined) return { bytes: Buffer.alloc(0), end: start };
  if (!/^\d{1,15}$/.test(lengthText)) return { status: 400, message: 'content-length is no number' };
  const length = Number(lengthText);
  if (length > bodyBytesMax) return { status: 413, message: `the body is longer than ${bodyBytesMax} bytes` };
  if (bytes.length < start + length) return { incomplete: true, needed: start + length };
  return { bytes: Buffer.from(bytes.subarray(start, start + length)), end: start + length };
}

function readChunks(bytes: Buffer, start: number, bodyBytesMax: number): Body {
  const parts: Buffer[] = [];
  let total = 0;
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return { incomplete: true, needed: bytes.length + 1 };
    const size = /^([0-9a-fA-F]{1,8})(;.*)?$/.exec(bytes.toString('latin1', at, lineEnd))?.[1];
    if (size === undefined) return { status: 400, message: 'a chunk without a size' };
    const length = Number.parseInt(size, 16);
    total += length;
    if (total > bodyBytesMax) return { status: 413, message: `the body is longer than ${bodyBytesMax} bytes` };
    const end = lineEnd + 2 + length;
    if (bytes.length < end + 2) return { incomplete: true, needed: end + 2 };
    if (length === 0) return { bytes: Buffer.concat(parts), end: end + 2 };
    parts.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}

/** Head and body of an answer. `body` is left out for HEAD, its length is not. */
export function writeHttp(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  request: Pick<HttpRequest, 'method' | 'keepAlive'> | null,
): Buffer {
  let head = `HTTP/1.1 ${status} ${STATUS_TEXTS[status] ?? ''}\r\nContent-Length: ${body.length}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  if (request?.keepAlive !== true) head += 'Connection: close\r\n';
  const bytes = Buffer.from(`${head}\r\n`, 'latin1');
  return request?.method === 'HEAD' ? bytes : Buffer.concat([bytes, body]);
}

export const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');
