// Prepared statements of the protocol, shared by all clients: one text with its parameter types has one name on every server
// connection. Keyed by the whole text, never by a hash (odyssey #1345: two texts got one name).

import { fingerprintOf } from './limits/fingerprint.ts';
import { scanStatement, type Scan } from './scan.ts';

/** What clients call by names of their own and server connections know as `name`. */
export class Statement {
  readonly name: string;
  readonly key: string;
  /** The Parse message without its type, length and name: text, zero byte, parameter types. */
  readonly body: Buffer;
  readonly text: string;
  readonly scan: Scan;
  /** Of its text, for baselines. */
  readonly fingerprint: number;
  /** Clients and server connections that hold it; without any it is forgotten. */
  holders = 0;
  /** A server has accepted it. */
  proven = false;

  constructor(options: { readonly name: string; readonly key: string; readonly body: Buffer; readonly text: string }) {
    this.name = options.name;
    this.key = options.key;
    this.body = options.body;
    this.text = options.text;
    this.scan = scanStatement(options.text);
    this.fingerprint = fingerprintOf(options.body, 0, options.body.indexOf(0));
  }

  /** A Parse message that defines it under `name`. */
  parseMessage(name: string = this.name): Buffer {
    const nameBytes = Buffer.byteLength(name);
    const message = Buffer.allocUnsafe(5 + nameBytes + 1 + this.body.length);
    message[0] = 0x50;
    message.writeInt32BE(message.length - 1, 1);
    message.write(name, 5);
    message[5 + nameBytes] = 0;
    this.body.copy(message, 6 + nameBytes);
    return message;
  }
}

/** Names on server connections begin with this, so that they cannot be mistaken for a client's. */
export const STATEMENT_PREFIX = '_skerry_';

export class StatementRegistry {
  readonly #byKey = new Map<string, Statement>();
  #created = 0;

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * The statement of a Parse body (text, zero, types). `context` separates clients for whom the same text means other
   * things (search_path, role).
   */
  intern(body: Buffer, textEnd: number, context: string): Statement {
    const key = keyOf(body, context);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    this.#created += 1;
    const statement = new Statement({
      name: `${STATEMENT_PREFIX}${this.#created.toString(36)}`,
      key,
      // The chunk it came in may be far larger.
      body: Buffer.from(body),
      text: body.toString('utf8', 0, textEnd),
    });
    this.#byKey.set(key, statement);
    return statement;
  }

  /** The statement of a Parse body, when somebody holds it already. */
  find(body: Buffer, context: string): Statement | null {
    return this.#byKey.get(keyOf(body, context)) ?? null;
  }

  hold(statement: Statement): void {
    statement.holders += 1;
    // It may have been forgotten and be held again through an undo.
    if (statement.holders === 1) this.#byKey.set(statement.key, statement);
  }

  release(statement: Statement): void {
    statement.holders -= 1;
    if (statement.holders === 0 && this.#byKey.get(statement.key) === statement) this.#byKey.delete(statement.key);
  }
}

function keyOf(body: Buffer, context: string): string {
  return `${context}\0${body.toString('latin1')}`;
}
