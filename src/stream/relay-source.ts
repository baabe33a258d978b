// From an upstream (the core or another relay) into the hub: assembles transactions, marks idle progress, acknowledges what is
// durable. One connection per run; whoever runs it decides about the next.

import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Log } from '../observe/log.ts';
import type { Lsn } from '../pg/lsn.ts';
import type { Hub } from './hub.ts';
import { ASSEMBLER_DEFAULTS, Assembler, type AssemblerSink, isForeign } from './source/assemble.ts';
import { PUBLICATION_MESSAGE_PREFIX } from './source/setup-sql.ts';
import { readLogicalMessage, TAG_MESSAGE } from './frames.ts';
import type { StreamPositions, StreamReceiver } from './upstream.ts';

/**
 * While transactions come, a position between them is passed on after this, unless a transaction has passed it on by then: the
 * core tells one after each commit, and each is a packet for each subscriber. Between two marks lies as much.
 */
const MARK_EVERY_MS = 50;

/** I5 in one place: what the upstream may forget is what every required copy here has made durable. */
export function durablePosition(copies: readonly { readonly durableLsn: Lsn }[]): Lsn {
  let least: Lsn | null = null;
  for (const { durableLsn } of copies) least = least === null || durableLsn < least ? durableLsn : least;
  return least ?? 0n;
}

export interface HubFeederOptions {
  readonly spoolDirectory: string;
  readonly publication: string;
  /** See MARK_EVERY_MS. */
  readonly markEveryMs?: number;
  /** See `AssemblerSink.relationChanged`. */
  readonly relationChanged?: NonNullable<AssemblerSink['relationChanged']>;
}

/** What is needed of the hub. */
export interface FeederHub extends Pick<Hub, 'endLsn' | 'record' | 'flush'> {
  readonly log: Pick<Hub['log'], 'adoptBig' | 'durableLsn' | 'roomy' | 'onRoom'>;
}

export class HubFeeder implements StreamReceiver {
  readonly #hub: FeederHub;
  readonly #clock: Clock;
  readonly #assembler: Assembler;
  #upstreamLsn: Lsn;
  readonly #markEveryMs: number;
  #idleLsn: Lsn = 0n;
  #markTimer: Disposable | null = null;
  /** Where the stream was when it was last looked at for marks: elsewhere now, transactions have come. */
  #lookedLsn: Lsn;
  readonly #publication: string;
  #publicationChanged = false;
  #heard = false;
  /** Called at the first sign of life of the connection. */
  onHeard: () => void = () => {};
  /** Called when the upstream has proved that there is nothing newer than what it sent. */
  onProof: () => void = () => {};

  constructor(
    deps: { readonly disk: Disk; readonly clock: Clock; readonly log: Log },
    hub: FeederHub,
    options: HubFeederOptions,
  ) {
    this.#hub = hub;
    this.#publication = options.publication;
    this.#clock = deps.clock;
    this.#upstreamLsn = hub.endLsn;
    this.#lookedLsn = hub.endLsn;
    this.#markEveryMs = options.markEveryMs ?? MARK_EVERY_MS;
    const sink: AssemblerSink = {
      record: (record) => hub.record(record),
      adoptBig: (path, endLsn, bytes) => hub.log.adoptBig(path, endLsn, bytes),
      ...(options.relationChanged === undefined ? {} : { relationChanged: options.relationChanged }),
      messageIgnored: (prefix) =>
        deps.log.warn('relay.message-ignored', {
          message: `left out a logical message with our prefix ${prefix} that is none of ours; nobody but skerry may emit these`,
        }),
    };
    this.#assembler = new Assembler(
      deps.disk,
      { spoolDirectory: options.spoolDirectory, publication: options.publication, ...ASSEMBLER_DEFAULTS },
      sink,
      hub.endLsn,
    );
  }

  /** Newest position the upstream is known to have. */
  get upstreamLsn(): Lsn {
    return this.#upstreamLsn > this.#hub.endLsn ? this.#upstreamLsn : this.#hub.endLsn;
  }

  message(buffer: Buffer, start: number, end: number): Promise<void> | null {
    if (!this.#heard) this.#hear();
    if (buffer[start] === TAG_MESSAGE) this.#lookAtMessage(buffer.subarray(start, end));
    const pending = this.#assembler.push(buffer, start, end);
    if (pending !== null) {
      // What came before it need not wait for it.
      this.#hub.flush();
      return pending.then(() => this.#afterWait());
    }
    return this.#hub.log.roomy ? null : this.#room();
  }

  keepalive(lsn: Lsn, isProof: boolean): void {
    this.#hear();
    if (isProof) {
      this.#hub.flush();
      this.onProof();
    }
    if (lsn > this.#upstreamLsn) this.#upstreamLsn = lsn;
    if (!this.#assembler.idle || lsn <= this.#assembler.position) return;
    this.#idleLsn = lsn;
    if (this.#markTimer !== null) return;
    // An idle stream moves at once; behind a transaction there is mostly another one soon.
    if (this.#assembler.position === this.#lookedLsn) this.#mark();
    this.#markLater(lsn);
  }

  /** Looks after a while whether a transaction has passed `lsn` on. */
  #markLater(lsn: Lsn): void {
    this.#lookedLsn = this.#assembler.position;
    this.#markTimer = this.#clock.after(this.#markEveryMs, () => {
      this.#markTimer = null;
      if (!this.#assembler.idle) return;
      if (this.#assembler.position < lsn || this.#assembler.position === this.#lookedLsn) {
        this.#mark();
        this.#lookedLsn = this.#assembler.position;
      } else if (this.#idleLsn > this.#assembler.position) {
        this.#markLater(this.#idleLsn);
      }
    });
  }

  flush(): Promise<void> | null {
    this.#hub.flush();
    if (this.#publicationChanged && this.#assembler.idle) throw publicationChanged();
    return null;
  }

  positions(): StreamPositions {
    const flushed = durablePosition([this.#hub.log]);
    return { written: this.#hub.endLsn, flushed, applied: flushed };
  }

  /** Drops what is incomplete: it comes again on the next connection. */
  async close(): Promise<void> {
    this.#markTimer?.[Symbol.dispose]();
    this.#hub.flush();
    await this.#assembler.discard();
  }

  #hear(): void {
    if (this.#heard) return;
    this.#heard = true;
    this.onHeard();
  }

  #mark(): void {
    if (this.#idleLsn <= this.#assembler.position) return;
    this.#assembler.mark(this.#idleLsn);
    this.#hub.flush();
  }

  #lookAtMessage(message: Uint8Array): void {
    // Inside streamed blocks an xid comes first. Should that transaction be rolled back, a copy too many is taken.
    const plain = this.#assembler.streaming ? message.subarray(4) : message;
    const { prefix, content } = readLogicalMessage(plain);
    if (prefix === PUBLICATION_MESSAGE_PREFIX && concerns(content, this.#publication)) this.#publicationChanged = true;
  }

  #afterWait(): Promise<void> | undefined {
    this.#hub.flush();
    return this.#hub.log.roomy ? undefined : this.#room();
  }

  /** Waits until the log has written enough. */
  #room(): Promise<void> {
    this.#hub.flush();
    return new Promise((resolve) => {
      const before = this.#hub.log.onRoom;
      this.#hub.log.onRoom = () => {
        this.#hub.log.onRoom = before;
        before();
        resolve();
      };
    });
  }
}

/** Whether a message about a publication is about this one. What does not say so (an older version's, a stranger's) is. */
function concerns(content: Uint8Array, publication: string): boolean {
  try {
    const told = JSON.parse(new TextDecoder().decode(content)) as { publication?: string } | null;
    return told === null || !isForeign(told, publication);
  } catch {
    return true;
  }
}

function publicationChanged(): Fault {
  return new Fault('publication-changed', {
    message: 'the publication was changed: what it sends from here on is another set of rows',
    hint: 'a new copy is taken',
  });
}
