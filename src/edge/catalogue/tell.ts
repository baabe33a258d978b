// Tells a client what the core said earlier, and says that it is from earlier.

import {
  beginDataRow,
  endDataRow,
  writeCommandComplete,
  writeNotice,
  writeNullValue,
  writeRowDescription,
  writeTextValue,
} from '../../wire/backend.ts';
import type { ByteWriter } from '../../wire/bytes.ts';
import { errorFields } from '../faults.ts';
import type { CatalogueAnswer } from './answers.ts';

/** client_min_messages under which a client is told no notices. */
const QUIET = new Set(['warning', 'error', 'fatal', 'panic']);

/** Whether a client is told no notices. */
export function isQuiet(minMessages: string): boolean {
  return QUIET.has(minMessages);
}

export function writeRemembered(out: ByteWriter, answer: CatalogueAnswer, minMessages: string): void {
  if (!isQuiet(minMessages)) {
    writeNotice(
      out,
      errorFields('00000', `the core is away; this is what it said at ${formatTime(answer.atMs)}`, {
        severity: 'NOTICE',
      }),
    );
  }
  writeRowDescription(out, answer.columns);
  for (const row of answer.rows) {
    const mark = beginDataRow(out, row.length);
    for (const value of row) {
      if (value === null) writeNullValue(out);
      else writeTextValue(out, value);
    }
    endDataRow(out, mark);
  }
  writeCommandComplete(out, answer.tag);
}

export function formatTime(atMs: number): string {
  return new Date(atMs).toISOString();
}
