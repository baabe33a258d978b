// A replica from the relay above: its snapshot over HTTP, resumed after interruptions, checked, unpacked, put in place.
//
//   download (name.download, resumed while the relay offers the same snapshot) ─▶ digest ─▶ unpack (name.unpacked) ─▶ rename

import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Http } from '../base/http.ts';
import type { Packer } from '../base/pack.ts';
import type { Log } from '../observe/log.ts';
import { formatPosition, type Position } from '../pg/lsn.ts';
import { installSnapshot, validateSnapshot } from '../replica/snapshot.ts';
import { requireSafeHttpUrl } from '../session/exposure.ts';

export interface BootstrapDeps {
  readonly disk: Disk;
  readonly http: Http;
  readonly packer: Packer;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BootstrapOptions {
  /** http(s)://host:port of the relay. */
  readonly url: string;
  readonly user: string;
  /** '' when a certificate is the proof. */
  readonly password: string;
  /** PEM texts for https. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** Where the replica is to be. */
  readonly path: string;
}

/** One request may take this long; what has arrived by then is kept and the rest asked for again. */
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;
const WRITE_BYTES = 1024 * 1024;

/** Downloads a snapshot and leaves it, checked and unpacked, at `<path>.unpacked`. Rejects with a Fault; call again to go on. */
export async function downloadSnapshot(
  deps: BootstrapDeps,
  options: BootstrapOptions,
  signal: AbortSignal,
): Promise<{ readonly path: string; readonly position: Position }> {
  const { disk, packer, log } = deps;
  requireSafeHttpUrl("the URL of the relay's snapshots", options.url);
  const packed = `${options.path}.download`;
  const unpacked = `${options.path}.unpacked`;
  const expected = await download(deps, options, packed, signal);
  const found = await packer.digest(packed);
  if (found.sha256 !== expected) {
    await disk.remove(packed);
    await disk.remove(`${packed}.tag`);
    throw new Fault('snapshot-damaged', {
      message: 'the snapshot arrived damaged: its SHA-256 is not the one the relay announced',
      hint: 'it is downloaded again',
      retryable: true,
    });
  }
  await disk.remove(unpacked);
  await packer.unpack(packed, unpacked);
  const { position } = validateSnapshot(unpacked, { thorough: false });
  await disk.remove(packed);
  await disk.remove(`${packed}.tag`);
  log.info('replica.snapshot-received', {
    message: `received a snapshot at ${formatPosition(position)}, ${found.bytes} bytes`,
  });
  return { path: unpacked, position };
}

/** Makes a downloaded snapshot the replica. Nobody may have the old one open. */
export async function putInPlace(disk: Disk, unpacked: string, path: string): Promise<void> {
  await installSnapshot(disk, unpacked, path);
}

/** Gives the digest the relay announced. */
async function download(
  deps: BootstrapDeps,
  options: BootstrapOptions,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  const { disk, http, log } = deps;
  const tagPath = `${path}.tag`;
  const tag = (await disk.exists(tagPath)) && (await disk.exists(path)) ? await disk.readText(tagPath) : null;
  await using file = await disk.open(path, 'write');
  const have = tag === null ? 0 : await file.size();
  const response = await http.request(`${options.url}/snapshot`, {
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
    signal,
    headers: {
      ...(options.password === '' ? {} : { authorization: basicAuthorization(options.user, options.password) }),
      // Only if it is still the same snapshot; otherwise all of the new one comes.
      ...(tag === null || have === 0 ? {} : { range: `bytes=${have}-`, 'if-range': tag }),
    },
    ...(options.url.startsWith('https:') ? { tls: options.tls } : {}),
  });
  if (response.status !== 200 && response.status !== 206) throw await refused(response);
  const newTag = response.headers.get('etag') ?? '';
  const sha256 = response.headers.get('x-skerry-sha256') ?? '';
  let offset = response.status === 206 ? have : 0;
  if (response.status === 206) log.info('replica.snapshot-resumed', { message: `going on after ${have} bytes` });
  else {
    await file.truncate(0);
    await disk.writeTextAtomically(tagPath, newTag);
  }
  offset = await writeBody(response, file, offset);
  const total = Number(response.headers.get('x-skerry-bytes'));
  if (offset !== total) {
    throw new Fault('snapshot-cut', {
      message: `the snapshot ended after ${offset} of ${total} bytes`,
      hint: 'it goes on where it stopped',
      retryable: true,
    });
  }
  // Not flushed: what a power cut leaves of it does not have this digest, and is downloaded again.
  return sha256;
}

async function writeBody(
  response: Response,
  file: { write(bytes: Uint8Array, offset: number): Promise<void> },
  from: number,
): Promise<number> {
  let offset = from;
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const put = async (): Promise<void> => {
    if (bytes === 0) return;
    await file.write(Buffer.concat(parts), offset);
    offset += bytes;
    parts = [];
    bytes = 0;
  };
  try {
    for await (const chunk of response.body ?? []) {
      parts.push(chunk as Uint8Array);
      bytes += (chunk as Uint8Array).length;
      if (bytes >= WRITE_BYTES) await put();
    }
  } catch (error) {
    await put();
    if (error instanceof Fault) throw error;
    throw new Fault('snapshot-cut', {
      message: `the snapshot broke off after ${offset} bytes`,
      hint: 'it goes on where it stopped',
      retryable: true,
      cause: error,
    });
  }
  await put();
  return offset;
}

async function refused(response: Response): Promise<Fault> {
  const text = (await response.text()).slice(0, 300);
  const forbidden = response.status === 401 || response.status === 403;
  return new Fault(forbidden ? 'snapshot-forbidden' : 'snapshot-unavailable', {
    message: `the relay gave no snapshot: HTTP ${response.status} ${text}`,
    hint: forbidden
      ? "check the peer's user and password, or its certificate"
      : 'the relay may still be copying; trying again',
    sqlstate: '08001',
    retryable: !forbidden,
  });
}

/** Value of an Authorization header. */
export function basicAuthorization(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
