// Rules about who may come from where and how he proves it, in the words of pg_hba.conf. The first rule that fits decides;
// when none fits, nobody enters.

import { Fault } from '../base/fault.ts';

export type AuthMethod = 'trust' | 'reject' | 'md5' | 'scram-sha-256' | 'password' | 'cert';

const METHODS: readonly string[] = ['trust', 'reject', 'md5', 'scram-sha-256', 'password', 'cert'];

export interface HbaRule {
  readonly type: 'local' | 'host' | 'hostssl' | 'hostnossl';
  readonly databases: readonly string[];
  readonly users: readonly string[];
  /** Null = any. */
  readonly network: Network | null;
  readonly method: AuthMethod;
}

interface Network {
  readonly address: bigint;
  readonly bits: number;
  readonly version: 4 | 6;
}

export interface HbaQuestion {
  readonly database: string;
  readonly user: string;
  /** `unix` for a unix socket. */
  readonly remoteAddress: string;
  readonly isTls: boolean;
}

/** Throws Fault `proxy-config` with the line number. */
export function parseHba(text: string): HbaRule[] {
  const rules: HbaRule[] = [];
  text.split('\n').forEach((line, index) => {
    const words = wordsOf(line);
    if (words.length === 0) return;
    rules.push(parseRule(words, index + 1));
  });
  return rules;
}

export function decideByHba(rules: readonly HbaRule[], question: HbaQuestion): AuthMethod {
  for (const rule of rules) if (fits(rule, question)) return rule.method;
  return 'reject';
}

function fits(rule: HbaRule, question: HbaQuestion): boolean {
  const isUnix = question.remoteAddress === 'unix';
  if (rule.type === 'local' ? !isUnix : isUnix) return false;
  if (rule.type === 'hostssl' && !question.isTls) return false;
  if (rule.type === 'hostnossl' && question.isTls) return false;
  if (!matches(rule.databases, question.database, question.user)) return false;
  if (!matches(rule.users, question.user, '')) return false;
  return rule.network === null || contains(rule.network, question.remoteAddress);
}

function matches(names: readonly string[], name: string, user: string): boolean {
  return names.some((one) => one === 'all' || one === name || (one === 'sameuser' && name === user));
}

function parseRule(words: readonly string[], line: number): HbaRule {
  const [type = '', databases = '', users = ''] = words;
  if (type !== 'local' && type !== 'host' && type !== 'hostssl' && type !== 'hostnossl') {
    throw wrong(line, `"${type}" is not local, host, hostssl or hostnossl`);
  }
  const isLocal = type === 'local';
  const address = isLocal ? 'all' : (words[3] ?? '');
  // An address may be followed by a mask in a word of its own.
  const hasMask = !isLocal && /^[\d.]+$/.test(words[4] ?? '');
  const method = words[isLocal ? 3 : hasMask ? 5 : 4] ?? '';
  if (!METHODS.includes(method)) throw wrong(line, `"${method}" is not one of ${METHODS.join(', ')}`);
  return {
    type,
    databases: databases.split(','),
    users: users.split(','),
    network: parseNetwork(hasMask ? `${address}/${maskBits(words[4] as string)}` : address, line),
    method: method as AuthMethod,
  };
}

function parseNetwork(text: string, line: number): Network | null {
  if (text === 'all') return null;
  if (text === 'samehost') return parseNetwork('127.0.0.0/8', line);
  const [host = '', bitsText] = text.split('/');
  const parsed = parseAddress(host);
  if (parsed === null) throw wrong(line, `"${text}" is not an address, all or samehost`);
  const size = parsed.version === 4 ? 32 : 128;
  const bits = bitsText === undefined ? size : Number(bitsText);
  if (!Number.isInteger(bits) || bits < 0 || bits > size) throw wrong(line, `"${text}" has no valid prefix length`);
  return { ...parsed, bits };
}

function maskBits(mask: string): number {
  const value = parseAddress(mask)?.address ?? 0n;
  return value.toString(2).replaceAll('0', '').length;
}

function contains(network: Network, address: string): boolean {
  const parsed = parseAddress(address);
  if (parsed === null || parsed.version !== network.version) return false;
  const shift = BigInt((network.version === 4 ? 32 : 128) - network.bits);
  return parsed.address >> shift === network.address >> shift;
}

function parseAddress(text: string): { readonly address: bigint; readonly version: 4 | 6 } | null {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text;
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(mapped);
  if (parts !== null) {
    const bytes = parts.slice(1).map(Number);
    if (bytes.some((byte) => byte > 255)) return null;
    return { address: bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n), version: 4 };
  }
  return parseAddress6(mapped);
}

function parseAddress6(text: string): { readonly address: bigint; readonly version: 6 } | null {
  if (!text.includes(':')) return null;
  const [left = '', right, more] = text.split('::');
  if (more !== undefined) return null;
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const missing = 8 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array.from({ length: right === undefined ? 0 : missing }, () => '0'), ...tail];
  if (groups.some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return null;
  return { address: groups.reduce((sum, group) => (sum << 16n) | BigInt(Number.parseInt(group, 16)), 0n), version: 6 };
}

/** Words of a line; quotes keep spaces, `#` begins a comment. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const found of line.matchAll(/"((?:[^"]|"")*)"|(#.*)|([^\s"#]+)/g)) {
    if (found[2] !== undefined) break;
    words.push(found[1] === undefined ? (found[3] as string) : found[1].replaceAll('""', '"'));
  }
  return words;
}

function wrong(line: number, reason: string): Fault {
  return new Fault('proxy-config', {
    message: `hba line ${line}: ${reason}`,
    hint: 'write lines as in pg_hba.conf: host DATABASE USER ADDRESS METHOD',
  });
}
