// What can be wrong with bytes from a peer. Such bytes are refused with one of these faults, never asserted.
//
//   frame-too-long      a length field exceeds the maximum of the phase: not our protocol, or an attack; the connection is closed
//   frame-malformed     a length field is too small, or a field runs past the end of its message
//   protocol-violation  a well-formed message at a moment when the protocol does not allow it

import { Fault } from '../base/fault.ts';

export type WireFaultCode = 'frame-too-long' | 'frame-malformed' | 'protocol-violation';

/** SQLSTATE 08P01 (protocol_violation) for all of them: after one the stream cannot be trusted, so the connection ends. */
export function wireFault(code: WireFaultCode, message: string): Fault {
  return new Fault(code, { message, sqlstate: '08P01' });
}
