// inet, cidr, macaddr, macaddr8.

import { invalidBinary, invalidText } from './faults.ts';

/** Address families of the binary form: Postgres' own numbers, not the system's. */
const FAMILY_4 = 2;
const FAMILY_6 = 3;

export function inetToBinary(text: string, isCidr: boolean): Buffer {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  const bytes = address.includes(':') ? parseIpv6(address) : parseIpv4(address);
  const bits = slash < 0 ? (bytes?.length ?? 0) * 8 : Number(text.slice(slash + 1));
  if (bytes === null || !Number.isInteger(bits) || bits > bytes.length * 8) {
    throw invalidText(isCidr ? 'cidr' : 'inet', text);
  }
  const family = bytes.length === 4 ? FAMILY_4 : FAMILY_6;
  return Buffer.from([family, bits, isCidr ? 1 : 0, bytes.length, ...bytes]);
}

export function inetFromBinary(bytes: Buffer, isCidr: boolean): string {
  const family = bytes[0];
  const bits = bytes[1] ?? 0;
  const length = bytes[3];
  const isValid =
    (family === FAMILY_4 && length === 4 && bytes.length === 8 && bits <= 32) ||
    (family === FAMILY_6 && length === 16 && bytes.length === 20 && bits <= 128);
  if (!isValid) throw invalidBinary(isCidr ? 'cidr' : 'inet');
  const address = length === 4 ? bytes.subarray(4, 8).join('.') : formatIpv6(bytes.subarray(4, 20));
  return isCidr || bits !== length * 8 ? `${address}/${bits}` : address;
}

export function macToBinary(text: string, length: 6 | 8): Buffer {
  const bytes = Buffer.from(text.replaceAll(':', ''), 'hex');
  if (bytes.length !== length) throw invalidText(length === 6 ? 'macaddr' : 'macaddr8', text);
  return bytes;
}

export function macFromBinary(bytes: Buffer, length: 6 | 8): string {
  if (bytes.length !== length) throw invalidBinary(length === 6 ? 'macaddr' : 'macaddr8');
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function parseIpv4(text: string): number[] | null {
  const parts = text.split('.').map(Number);
  const isValid = parts.length === 4 && parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 255);
  return isValid ? parts : null;
}

function parseIpv6(text: string): number[] | null {
  let tail: number[] = [];
  let rest = text;
  const dot = text.indexOf('.');
  if (dot >= 0) {
    const colon = text.lastIndexOf(':');
    const v4 = parseIpv4(text.slice(colon + 1));
    if (v4 === null) return null;
    tail = v4;
    rest = text.slice(0, colon + 1);
    if (rest.endsWith(':') && !rest.endsWith('::')) rest = rest.slice(0, -1);
  }
  const halves = rest.split('::');
  if (halves.length > 2) return null;
  const groups = (half: string): number[] => (half === '' ? [] : half.split(':').flatMap((group) => hexGroup(group)));
  const head = groups(halves[0] as string);
  const back = halves.length === 2 ? groups(halves[1] as string) : [];
  const missing = 16 - head.length - back.length - tail.length;
  if (missing < 0 || (halves.length === 1 && missing !== 0)) return null;
  const bytes = [...head, ...Array.from({ length: missing }, () => 0), ...back, ...tail];
  return bytes.every((byte) => byte >= 0) ? bytes : null;
}

function hexGroup(group: string): number[] {
  if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return [-1, -1];
  const value = Number.parseInt(group, 16);
  return [value >> 8, value & 255];
}

/** As inet_net_ntop: the longest run of zero groups is left out, and addresses that hold an IPv4 one show it. */
function formatIpv6(bytes: Buffer): string {
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  let best = { base: -1, length: 0 };
  let current = { base: -1, length: 0 };
  for (let index = 0; index < 8; index += 1) {
    if (words[index] === 0) {
      if (current.base < 0) current = { base: index, length: 1 };
      else current.length += 1;
      if (current.length > best.length) best = { ...current };
    } else {
      current = { base: -1, length: 0 };
    }
  }
  if (best.length < 2) best = { base: -1, length: 0 };
  let text = '';
  for (let index = 0; index < 8; index += 1) {
    if (best.base >= 0 && index >= best.base && index < best.base + best.length) {
      if (index === best.base) text += ':';
      continue;
    }
    if (index > 0) text += ':';
    const holdsIpv4 =
      index === 6 &&
      best.base === 0 &&
      (best.length === 6 || (best.length === 7 && words[7] !== 1) || (best.length === 5 && words[5] === 0xffff));
    if (holdsIpv4) return text + bytes.subarray(12, 16).join('.');
    text += (words[index] as number).toString(16);
  }
  if (best.base >= 0 && best.base + best.length === 8) text += ':';
  return text;
}
