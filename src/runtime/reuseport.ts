// Which listening socket of a group that shares one port (SO_REUSEPORT) gets the next connection. Linux decides by a hash;
// a small classic BPF program, which needs no privilege, makes it leave out those that are about to close. Without it a
// socket that closes resets the connections which the kernel had already queued for it (unless net.ipv4.tcp_migrate_req is 1).

import { dlopen, ptr } from 'bun:ffi';

const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;

// Instructions of linux/bpf_common.h.
const LOAD_ABSOLUTE = 0x20;
const MODULO = 0x94;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random number in place of packet data. */
const RANDOM = 0xfffff000 + 56;

/** BPF jumps are bytes, and a proxy has no more workers than this. */
const POSITIONS_MAX = 64;

type SetSockOpt = (fd: number, level: number, name: number, value: Uint8Array, length: number) => number;

let setsockopt: SetSockOpt | null | undefined;

/**
 * From now on only sockets at these positions of the group get connections, at random; null = all, by the kernel's own hash.
 * Positions count in the order in which the sockets began to listen; when one closes, the last takes its place.
 * False when the system has no such thing: then nothing has changed.
 */
export function steerGroup(fd: number, positions: readonly number[] | null): boolean {
  const call = setsockopt === undefined ? (setsockopt = load()) : setsockopt;
  if (call === null || fd < 0) return false;
  if (positions === null) return call(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, Buffer.alloc(4), 4) === 0;
  if (positions.length === 0 || positions.length > POSITIONS_MAX) return false;
  const program = programOf(positions);
  // struct sock_fprog { unsigned short len; struct sock_filter *filter; } on a 64-bit machine.
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / 8, 0);
  header.writeBigUInt64LE(BigInt(ptr(program)), 8);
  return call(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, header, header.length) === 0;
}

function programOf(positions: readonly number[]): Buffer {
  const instructions: (readonly [code: number, ifTrue: number, ifFalse: number, value: number])[] = [
    [LOAD_ABSOLUTE, 0, 0, RANDOM],
    [MODULO, 0, 0, positions.length],
    ...positions.flatMap((position, index) => [
      [JUMP_IF_EQUAL, 0, 1, index] as const,
      [RETURN, 0, 0, position] as const,
    ]),
    // Out of range: the kernel takes its hash.
    [RETURN, 0, 0, 0xffffffff],
  ];
  const program = Buffer.alloc(instructions.length * 8);
  instructions.forEach(([code, ifTrue, ifFalse, value], index) => {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(ifTrue, index * 8 + 2);
    program.writeUInt8(ifFalse, index * 8 + 3);
    program.writeUInt32LE(value >>> 0, index * 8 + 4);
  });
  return program;
}

/** Null where there is no Linux, or no C library that can be called. */
function load(): SetSockOpt | null {
  if (process.platform !== 'linux') return null;
  for (const library of ['libc.so.6', 'libc.so']) {
    try {
      const { symbols } = dlopen(library, {
        setsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'u32'], returns: 'i32' },
      });
      return (fd, level, name, value, length) => symbols.setsockopt(fd, level, name, ptr(value), length);
    } catch {
      // The next name.
    }
  }
  return null;
}
