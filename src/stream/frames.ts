// Stream frames: one pgoutput message inside XLogData inside CopyData, exactly as a walsender puts it on the wire.
// The log stores frames, so that catching up is "read the file, write the socket".
//
//   'd' length:i32 'w' start:i64 end:i64 sent:i64 message…

/** Bytes before the pgoutput message in a frame. */
export const FRAME_HEADER_BYTES = 30;

/** A Begin message's frame has one size, so that it can be skipped or filled in afterwards. */
export const BEGIN_FRAME_BYTES = FRAME_HEADER_BYTES + 21;

export const TAG_BEGIN = 0x42;
export const TAG_COMMIT = 0x43;
export const TAG_ORIGIN = 0x4f;
export const TAG_RELATION = 0x52;
export const TAG_TYPE = 0x59;
export const TAG_INSERT = 0x49;
export const TAG_UPDATE = 0x55;
export const TAG_DELETE = 0x44;
export const TAG_TRUNCATE = 0x54;
export const TAG_MESSAGE = 0x4d;
export const TAG_STREAM_START = 0x53;
export const TAG_STREAM_STOP = 0x45;
export const TAG_STREAM_COMMIT = 0x63;
export const TAG_STREAM_ABORT = 0x41;

/** Writes the 30 bytes before a message of `messageBytes` bytes. */
export function writeFrameHeader(
  view: DataView,
  at: number,
  messageBytes: number,
  startLsn: bigint,
  endLsn: bigint,
  sentMicros: bigint,
): void {
  view.setUint8(at, 0x64);
  view.setInt32(at + 1, FRAME_HEADER_BYTES - 1 + messageBytes);
  view.setUint8(at + 5, 0x77);
  view.setBigUint64(at + 6, startLsn);
  view.setBigUint64(at + 14, endLsn);
  view.setBigInt64(at + 22, sentMicros);
}

/** One whole frame around `message`. */
export function frameOf(message: Uint8Array, startLsn: bigint, endLsn: bigint, sentMicros: bigint): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + message.length);
  writeFrameHeader(new DataView(frame.buffer), 0, message.length, startLsn, endLsn, sentMicros);
  frame.set(message, FRAME_HEADER_BYTES);
  return frame;
}

/** Begin as a message. `finalLsn` is the LSN of the commit record, not its end. */
export function beginMessage(finalLsn: bigint, commitMicros: bigint, xid: number): Uint8Array {
  const message = new Uint8Array(21);
  const view = new DataView(message.buffer);
  view.setUint8(0, TAG_BEGIN);
  view.setBigUint64(1, finalLsn);
  view.setBigInt64(9, commitMicros);
  view.setUint32(17, xid);
  return message;
}

/** Commit as a message. */
export function commitMessage(commitLsn: bigint, endLsn: bigint, commitMicros: bigint): Uint8Array {
  const message = new Uint8Array(26);
  const view = new DataView(message.buffer);
  view.setUint8(0, TAG_COMMIT);
  view.setBigUint64(2, commitLsn);
  view.setBigUint64(10, endLsn);
  view.setBigInt64(18, commitMicros);
  return message;
}

/** A logical message ('M') as a message. */
export function logicalMessage(transactional: boolean, lsn: bigint, prefix: string, content: Uint8Array): Uint8Array {
  const prefixBytes = new TextEncoder().encode(prefix);
  const message = new Uint8Array(1 + 1 + 8 + prefixBytes.length + 1 + 4 + content.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, TAG_MESSAGE);
  view.setUint8(1, transactional ? 1 : 0);
  view.setBigUint64(2, lsn);
  message.set(prefixBytes, 10);
  view.setInt32(11 + prefixBytes.length, content.length);
  message.set(content, 15 + prefixBytes.length);
  return message;
}

/** Prefix and content (a view) of a logical message without xid. */
export function readLogicalMessage(message: Uint8Array): { readonly prefix: string; readonly content: Uint8Array } {
  const zero = message.indexOf(0, 10);
  return { prefix: new TextDecoder().decode(message.subarray(10, zero)), content: message.subarray(zero + 5) };
}

/** Length of the frame at `at`, header included; 0 when fewer than 5 bytes are there. */
export function frameBytesAt(bytes: Uint8Array, at: number): number {
  if (at + 5 > bytes.length) return 0;
  return (
    1 +
    (((bytes[at + 1] as number) << 24) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 8) |
      (bytes[at + 4] as number))
  );
}

/** Bytes of the whole frames at the beginning of `bytes`. */
export function wholeFrames(bytes: Uint8Array): number {
  let at = 0;
  for (;;) {
    const length = frameBytesAt(bytes, at);
    if (length === 0 || at + length > bytes.length) return at;
    at += length;
  }
}

/** Calls `visit` with the pgoutput message of each whole frame. */
export function eachFrame(bytes: Uint8Array, visit: (message: Uint8Array) => void): void {
  for (let at = 0; at < bytes.length; ) {
    const length = frameBytesAt(bytes, at);
    if (length === 0 || at + length > bytes.length) return;
    visit(bytes.subarray(at + FRAME_HEADER_BYTES, at + length));
    at += length;
  }
}

/** The frames without logical messages: what a client that did not ask for them gets. `used` as in `eachMessage`. */
export function withoutLogicalMessages(bytes: Uint8Array): { readonly kept: Uint8Array; readonly used: number } {
  const kept = new Uint8Array(bytes.length);
  let keptBytes = 0;
  let at = 0;
  for (;;) {
    const length = frameBytesAt(bytes, at);
    if (length === 0 || at + length > bytes.length) return { kept: kept.subarray(0, keptBytes), used: at };
    if (bytes[at + FRAME_HEADER_BYTES] !== TAG_MESSAGE) {
      kept.set(bytes.subarray(at, at + length), keptBytes);
      keptBytes += length;
    }
    at += length;
  }
}

/** One buffer out of many. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
