// What the core said about its catalogue, kept for when it is away: psql's backslash commands work at a PoP that is cut off.
//
// While the core can be reached nothing here answers anything: catalogue questions are forwarded like all that is not proven
// (I2). Only when forwarding has failed may a session ask here, and then it gets the core's own answer to the same text,
// with the time of it. Answers are asked for by this edge itself, on a fresh connection with the role's own settings, so that no
// session's temporary tables, open transaction or search_path is in them. They hold for one state of the replicated
// tables: as soon as the replica's catalogue is another one they are void, until they were asked for again.
//
// Loops: rounds (soon after the start, after a schema change, after a new question, and every ten minutes).

import { Backoff } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import type { Crypto } from '../../base/crypto.ts';
import type { Disk } from '../../base/disk.ts';
import { describeError } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import { type Service, sleepQuietly } from '../../base/service.ts';
import type { ReplicaFeed } from '../../contracts/replica-feed.ts';
import type { Log } from '../../observe/log.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import type { ClientSession, QueryResult } from '../../session/client-session.ts';
import { parse, PARSE_BYTES_MAX } from '../sql/parse.ts';
import { asksCatalogueOnly } from './query.ts';
import { PSQL_LISTS, PSQL_TABLES } from './psql-queries.ts';
import { expand, templateOf } from './templates.ts';

/** Definitions that no schema change tells of (roles, grants, views, other databases) are asked for again after this. */
const REFRESH_MS = 10 * 60_000;

/** Schema changes and questions come in bunches; and not all edges shall ask in the same moment. */
const SETTLE_MS = 2_000;
const SPREAD_MS = 3_000;

const BACKOFF = { firstMs: 5_000, maxMs: 60_000 };

/** Questions of clients that are remembered; the one unused for longest goes first. */
const QUESTIONS_MAX = 300;

/** Questions about one table that are asked about all: psql's, and those learned from clients. The oldest goes first. */
const LEARNED_MAX = 100;

/** Questions that wait to be looked at; more are dropped, they will be asked again. */
const PENDING_MAX = 100;

/** One answer's size in characters; larger ones are not kept. */
const ANSWER_CHARS_MAX = 1024 * 1024;

/** All answers together; what comes after it is not kept. */
const ANSWERS_CHARS_MAX = 32 * 1024 * 1024;

/** One question may take the core this long. */
const STATEMENT_TIMEOUT_MS = 5_000;

const MENTIONS_CATALOGUE = /\bpg_|\binformation_schema\b/;

export interface CatalogueAnswer extends QueryResult {
  /** Wall-clock time of the answer, to be shown. */
  readonly atMs: number;
}

export interface CatalogueAnswersDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly feed: ReplicaFeed;
  /** The replica's catalogue now; null while there is none. */
  readonly catalogue: () => Catalogue | null;
  readonly connect: () => Promise<ClientSession>;
}

export interface CatalogueAnswersOptions {
  /** The file in which answers outlive a restart. */
  readonly path: string;
  /** About so many tables psql's questions are asked ahead; 0 = nothing is asked or remembered at all. */
  readonly tablesMax: number;
  readonly settleMs?: number;
  /** Of the processes of one edge only one writes the file; the others read it at their start. */
  readonly keeps: boolean;
}

interface Kept {
  readonly format: 1;
  readonly fingerprint: string;
  readonly questions: readonly string[];
  readonly learned: readonly string[];
  readonly answers: readonly (readonly [question: string, answer: CatalogueAnswer])[];
}

export class CatalogueAnswers implements Service {
  readonly name = 'edge.catalogue-answers';
  readonly #deps: CatalogueAnswersDeps;
  readonly #options: CatalogueAnswersOptions;
  /** Forwarded texts that may be questions about the catalogue. */
  readonly #pending = new Set<string>();
  readonly #questions = new Set<string>();
  readonly #learned = new Set<string>();
  /** Questions that the core did not answer in the last whole round. */
  readonly #refused = new Set<string>();
  #answers: Map<string, CatalogueAnswer> = new Map();
  /** Of the catalogue for which the answers hold. */
  #fingerprint = '';
  #fingerprintOf: { readonly catalogue: Catalogue; readonly version: number; readonly text: string } | null = null;
  #wholeAt = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | null = null;

  constructor(deps: CatalogueAnswersDeps, options: CatalogueAnswersOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** A statement of a client goes to the core: perhaps its answer is worth keeping. Cheap. */
  seen(text: string): void {
    if (this.#options.tablesMax === 0 || text.length > PARSE_BYTES_MAX || !MENTIONS_CATALOGUE.test(text)) return;
    if (this.#questions.has(text)) {
      this.#questions.delete(text);
      this.#questions.add(text);
      return;
    }
    if (this.#answers.has(text) || this.#pending.size >= PENDING_MAX) return;
    this.#pending.add(text);
    this.#wake?.();
  }

  /** What the core said to exactly this text; null when that is not known, or no longer true of the replicated tables. */
  answer(text: string): CatalogueAnswer | null {
    const answer = this.#answers.get(text);
    return answer !== undefined && this.#fingerprintNow() === this.#fingerprint ? answer : null;
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.tablesMax === 0) return await aborted(signal);
    const { clock, random, log, feed } = this.#deps;
    const { settleMs = SETTLE_MS } = this.#options;
    await this.#recall();
    const backoff = new Backoff(random, BACKOFF);
    let version = -1;
    using _subscription = feed.subscribe(({ schemaVersion, generation }) => {
      if (version === schemaVersion * 2 ** 20 + generation) return;
      version = schemaVersion * 2 ** 20 + generation;
      this.#wake?.();
    });
    while (!signal.aborted) {
      await sleepQuietly(clock, settleMs + (settleMs < SETTLE_MS ? 0 : random.float() * SPREAD_MS), signal);
      if (signal.aborted) return;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      try {
        await this.#round(signal);
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        if (backoff.failures === 0) {
          log.info('edge.catalogue-unasked', {
            message: `the core's catalogue was not asked: ${describeError(error)}`,
          });
        }
        await sleepQuietly(clock, backoff.next(), signal);
        continue;
      }
      const cut = new AbortController();
      await Promise.race([woken, sleepQuietly(clock, REFRESH_MS, AbortSignal.any([signal, cut.signal]))]);
      cut.abort();
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const catalogue = this.#deps.catalogue();
    if (catalogue === null) return;
    const tables = [...catalogue.tables()].slice(0, this.#options.tablesMax);
    const fingerprint = this.#fingerprintNow();
    this.#judgePending(tables);
    const isWhole = fingerprint !== this.#fingerprint || this.#deps.clock.now() - this.#wholeAt >= REFRESH_MS;
    if (isWhole) this.#refused.clear();
    const answers = new Map(isWhole ? [] : this.#answers);
    const due = [...this.#texts(tables)].filter((text) => !answers.has(text) && !this.#refused.has(text));
    if (due.length > 0) await this.#ask(due, answers, signal);
    // A schema change arrived meanwhile: another round follows it.
    if (signal.aborted || this.#fingerprintNow() !== fingerprint) return;
    this.#answers = answers;
    this.#fingerprint = fingerprint;
    if (isWhole) this.#wholeAt = this.#deps.clock.now();
    if (due.length > 0 && this.#options.keeps) await this.#keep();
  }

  #texts(tables: readonly { oid: number; schema: string; name: string }[]): Set<string> {
    const texts = new Set<string>([...this.#questions, ...PSQL_LISTS]);
    for (const template of [...PSQL_TABLES, ...this.#learned]) {
      for (const text of expand(template, tables)) texts.add(text);
    }
    return texts;
  }

  #judgePending(tables: readonly { oid: number; schema: string; name: string }[]): void {
    for (const text of this.#pending) {
      const { statements } = parse(text);
      const only = statements[0];
      if (only === undefined || statements.length > 1 || only.isTooDeep || !asksCatalogueOnly(only.node)) continue;
      const template = templateOf(text, tables);
      if (template === null) addBounded(this.#questions, text, QUESTIONS_MAX);
      else if (!PSQL_TABLES.includes(template)) addBounded(this.#learned, template, LEARNED_MAX);
    }
    this.#pending.clear();
  }

  async #ask(texts: readonly string[], answers: Map<string, CatalogueAnswer>, signal: AbortSignal): Promise<void> {
    const { clock, connect, log } = this.#deps;
    const session = await connect();
    try {
      await session.query(`SET default_transaction_read_only = on; SET statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
      let chars = 0;
      for (const answer of answers.values()) chars += sizeOf(answer);
      for (const text of texts) {
        if (signal.aborted) return;
        try {
          const { columns, rows, tag } = await session.query(text);
          const answer = { columns, rows, tag, atMs: clock.wall() };
          const size = sizeOf(answer);
          if (size > ANSWER_CHARS_MAX || chars + size > ANSWERS_CHARS_MAX) this.#refused.add(text);
          else answers.set(text, answer);
          chars += size;
        } catch (error) {
          if (session.closed) throw error;
          log.debug('edge.catalogue-refused', {
            message: `the core did not answer: ${describeError(error)}`,
            sql: text,
          });
          this.#refused.add(text);
        }
      }
    } finally {
      if (!session.closed) await session.close();
    }
  }

  /** Equal for equal catalogues, over restarts too; '' while there is none. */
  #fingerprintNow(): string {
    const catalogue = this.#deps.catalogue();
    if (catalogue === null) return '';
    const known = this.#fingerprintOf;
    if (known !== null && known.catalogue === catalogue && known.version === catalogue.version) return known.text;
    const { tables, types, ...server } = catalogue.image();
    const byOid = (a: { oid: number }, b: { oid: number }): number => a.oid - b.oid;
    const text = this.#deps.crypto.md5Hex(JSON.stringify([server, tables.toSorted(byOid), types.toSorted(byOid)]));
    this.#fingerprintOf = { catalogue, version: catalogue.version, text };
    return text;
  }

  async #keep(): Promise<void> {
    const kept: Kept = {
      format: 1,
      fingerprint: this.#fingerprint,
      questions: [...this.#questions],
      learned: [...this.#learned],
      answers: [...this.#answers],
    };
    await this.#deps.disk.writeTextAtomically(this.#options.path, JSON.stringify(kept));
  }

  async #recall(): Promise<void> {
    const { disk, log } = this.#deps;
    const { path } = this.#options;
    try {
      if (!(await disk.exists(path))) return;
      const kept = JSON.parse(await disk.readText(path)) as Kept;
      if (kept.format !== 1) return;
      this.#fingerprint = kept.fingerprint;
      for (const question of kept.questions) this.#questions.add(question);
      for (const template of kept.learned) this.#learned.add(template);
      this.#answers = new Map(kept.answers);
    } catch (error) {
      log.warn('edge.catalogue-unreadable', { message: `${path} is ignored: ${describeError(error)}` });
    }
  }
}

function sizeOf({ columns, rows }: QueryResult): number {
  let chars = columns.length * 40;
  for (const row of rows) for (const value of row) chars += (value?.length ?? 0) + 8;
  return chars;
}

function addBounded(set: Set<string>, text: string, countMax: number): void {
  set.add(text);
  if (set.size <= countMax) return;
  const oldest = set.values().next().value;
  if (oldest !== undefined) set.delete(oldest);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
