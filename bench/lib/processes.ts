// What processes use, read from /proc by pid: resident memory (now and at its peak) and CPU time. Linux only; elsewhere
// everything reads as NaN, which a table shows as "not measured".

import { readFileSync, writeFileSync } from 'node:fs';

const MEGABYTE = 1024 * 1024;
// USER_HZ: what /proc counts CPU time in, 100 on every Linux we run on.
const TICKS_PER_SECOND = 100;
// Often enough to see a spike that matters for sizing a machine, rare enough to cost nothing.
const SAMPLE_EVERY_MS = 50;

/** `pid` and all its descendants that live now. */
export function processTree(pid: number): number[] {
  const pids = [pid];
  for (const parent of pids) {
    const children = read(`/proc/${parent}/task/${parent}/children`);
    if (children !== null) pids.push(...children.trim().split(' ').filter(Boolean).map(Number));
  }
  return pids;
}

/** Resident memory of one process in MB. */
export function residentMb(pid: number): number {
  return statusMb(pid, 'VmRSS');
}

/** Largest resident memory of one process since it started, or since `resetPeak`, in MB: the kernel's own mark. */
export function peakMb(pid: number): number {
  return statusMb(pid, 'VmHWM');
}

/** Makes `peakMb` start again from what is resident now. */
export function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Not permitted, or no /proc: the peak then counts from the start of the process.
  }
}

/** CPU seconds (user and system) used so far by a process and its descendants. */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const one of processTree(pid)) {
    const stat = read(`/proc/${one}/stat`);
    if (stat === null) continue;
    // The name in brackets may contain blanks: count fields after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks === 0 ? Number.NaN : ticks / TICKS_PER_SECOND;
}

/** Follows the memory of a process and its descendants until it is stopped. */
export class MemoryWatch implements Disposable {
  readonly #pid: number;
  readonly #timer: Timer;
  #treePeakMb = 0;

  constructor(pid: number) {
    this.#pid = pid;
    for (const one of processTree(pid)) resetPeak(one);
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
  }

  /** Peak of the whole tree in MB: the kernel's mark of the process itself, and sampled sums when it has children. */
  get peakMb(): number {
    this.#sample();
    return Math.max(this.#treePeakMb, peakMb(this.#pid));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    let sum = 0;
    for (const pid of processTree(this.#pid)) {
      const mb = residentMb(pid);
      if (!Number.isNaN(mb)) sum += mb;
    }
    this.#treePeakMb = Math.max(this.#treePeakMb, sum);
  }
}

function statusMb(pid: number, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`) ?? '');
  return found === null ? Number.NaN : (Number(found[1]) * 1024) / MEGABYTE;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
