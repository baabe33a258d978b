// What is said about values that are not of their type.

import { Fault } from '../../base/fault.ts';
import { SQLSTATE } from '../sqlstate.ts';

/** Shown of a bad value: enough to find it, too little to leak a document. */
const SHOWN_MAX = 60;

/** 22P02, worded as Postgres words it. */
export function invalidText(type: string, text: string): Fault {
  return new Fault('value-invalid', {
    message: `invalid input syntax for type ${type}: "${text.slice(0, SHOWN_MAX)}"`,
    sqlstate: SQLSTATE.invalidTextRepresentation,
  });
}

/** 22P03: a binary parameter that cannot be read. */
export function invalidBinary(type: string): Fault {
  return new Fault('value-invalid', {
    message: `incorrect binary data format for type ${type}`,
    sqlstate: SQLSTATE.invalidBinaryRepresentation,
  });
}

/** 0A000: the type has no binary form here; the statement is forwarded or text is asked for. */
export function noBinary(typeOid: number): Fault {
  return new Fault('type-without-binary', {
    message: `no binary form is known for the type with OID ${typeOid}`,
    hint: 'ask for text results, or let the statement be forwarded',
    sqlstate: SQLSTATE.featureNotSupported,
  });
}
