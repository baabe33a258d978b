// TSV-RPC, Kyoto Tycoon's way of writing a map of byte strings: one record a line, key and value separated by a tab, both encoded
// when they hold control characters. Keys and values are Buffers: they need not be UTF-8.
// Source: Kyoto Tycoon's Fundamental Specifications, "TSV-RPC".

/** Records by the latin1 text of their key's bytes, so that bytes are Map keys. */
export type Records = Map<string, Buffer>;

/** How columns are encoded: plainly, Base64, URL or quoted-printable. */
export type ColumnEncoding = '' | 'B' | 'U' | 'Q';

export const TSV_TYPE = 'text/tab-separated-values';

/** `colenc=…` of a Content-Type; null when it names none that exists. */
export function encodingOf(contentType: string): ColumnEncoding | null {
  const found = /;\s*colenc\s*=\s*"?([^";\s]*)/i.exec(contentType)?.[1]?.toUpperCase();
  if (found === undefined) return '';
  return found === 'B' || found === 'U' || found === 'Q' ? found : null;
}

export function readTsv(body: Buffer, encoding: ColumnEncoding): Records {
  const records: Records = new Map();
  for (let start = 0; start < body.length; ) {
    const newline = body.indexOf(0x0a, start);
    const end = newline < 0 ? body.length : newline;
    // Within the line: a body of lines without tabs must not be searched to its end for each.
    const line = body.subarray(start, end);
    const tab = line.indexOf(0x09);
    // A line without a tab is no record.
    if (tab >= 0) {
      const second = line.indexOf(0x09, tab + 1);
      records.set(
        decodeColumn(line.subarray(0, tab), encoding).toString('latin1'),
        decodeColumn(trimCarriageReturn(line.subarray(tab + 1, second < 0 ? line.length : second)), encoding),
      );
    }
    start = end + 1;
  }
  return records;
}

/** `a=b&c=d`, of a query string or of an HTML form. */
export function readForm(text: Buffer): Records {
  const records: Records = new Map();
  for (const part of text.toString('latin1').split('&')) {
    const at = part.indexOf('=');
    if (at <= 0) continue;
    records.set(decodeUrl(part.slice(0, at)).toString('latin1'), decodeUrl(part.slice(at + 1)));
  }
  return records;
}

/** Records in the order of their keys' bytes, in the encoding that is shortest if one is needed. */
export function writeTsv(records: Records): { readonly body: Buffer; readonly type: string } {
  const keys = [...records.keys()].sort();
  let needed = false;
  let base64Length = 0;
  let urlLength = 0;
  const look = (bytes: Buffer): void => {
    base64Length += Math.floor((bytes.length * 6) / 4) + 3;
    for (const byte of bytes) {
      if (byte < 0x20 || byte === 0x7f) needed = true;
      urlLength += isUnreserved(byte) ? 1 : 3;
    }
  };
  for (const key of keys) {
    look(Buffer.from(key, 'latin1'));
    look(records.get(key) as Buffer);
  }
  const encoding: ColumnEncoding = needed ? (base64Length < urlLength ? 'B' : 'U') : '';
  const parts: Buffer[] = [];
  for (const key of keys) {
    parts.push(
      encodeColumn(Buffer.from(key, 'latin1'), encoding),
      TAB,
      encodeColumn(records.get(key) as Buffer, encoding),
      NEWLINE,
    );
  }
  return { body: Buffer.concat(parts), type: encoding === '' ? TSV_TYPE : `${TSV_TYPE}; colenc=${encoding}` };
}

/** Percent-encoded bytes; `+` is a blank. What is no valid escape stands for itself. */
export function decodeUrl(text: string): Buffer {
  const bytes = Buffer.alloc(text.length);
  let length = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    const hex = code === 0x25 ? /^[0-9a-fA-F]{2}/.exec(text.slice(index + 1, index + 3))?.[0] : undefined;
    if (hex === undefined) {
      bytes[length] = code === 0x2b ? 0x20 : code;
    } else {
      bytes[length] = Number.parseInt(hex, 16);
      index += 2;
    }
    length += 1;
  }
  return bytes.subarray(0, length);
}

const TAB = Buffer.from('\t');
const NEWLINE = Buffer.from('\n');

function trimCarriageReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === 0x0d ? bytes.subarray(0, -1) : bytes;
}

function decodeColumn(bytes: Buffer, encoding: ColumnEncoding): Buffer {
  switch (encoding) {
    case '':
      return bytes;
    case 'B':
      return Buffer.from(bytes.toString('latin1'), 'base64');
    case 'U':
      return decodeUrl(bytes.toString('latin1'));
    case 'Q':
      return Buffer.from(
        bytes
          .toString('latin1')
          .replace(/=\r?\n/g, '')
          .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      );
  }
}

function encodeColumn(bytes: Buffer, encoding: ColumnEncoding): Buffer {
  if (encoding === 'B') return Buffer.from(bytes.toString('base64'));
  if (encoding !== 'U') return bytes;
  let text = '';
  for (const byte of bytes) {
    text += isUnreserved(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`;
  }
  return Buffer.from(text);
}

function isUnreserved(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    UNRESERVED.has(byte)
  );
}

const UNRESERVED: ReadonlySet<number> = new Set(Buffer.from("_-.!~*'()"));
