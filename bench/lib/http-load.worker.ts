// GETs over keep-alive connections in a closed loop, in a thread of its own. Told what to ask, gives how many answers came.

declare const self: { onmessage: ((event: MessageEvent) => void) | null };
declare function postMessage(message: unknown): void;

export interface HttpLoadRequest {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** `{id}` is replaced by a number from 1 to `idMax`. */
  readonly path: string;
  readonly idMax: number;
}

export interface HttpLoadResult {
  readonly answers: number;
  readonly notOk: number;
  readonly seconds: number;
}

/** Requests are made ahead, so that the generator's own work is small. */
const PREPARED = 4096;

const HEAD_END = Buffer.from('\r\n\r\n');

self.onmessage = (event: MessageEvent): void => {
  const { port, connections, seconds, path, idMax } = event.data as HttpLoadRequest;
  const requests = Array.from({ length: PREPARED }, () => {
    const id = 1 + Math.floor(Math.random() * idMax);
    return Buffer.from(`GET ${path.replace('{id}', String(id))} HTTP/1.1\r\nHost: bench\r\n\r\n`);
  });
  let next = 0;
  let answers = 0;
  let notOk = 0;
  let running = true;
  const startedAt = performance.now();
  const ask = (socket: { write(bytes: Uint8Array): number }): void => {
    next = (next + 1) % PREPARED;
    socket.write(requests[next] as Buffer);
  };
  const sockets = Array.from({ length: connections }, () => {
    let rest = Buffer.alloc(0);
    return Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: {
        open: ask,
        data(socket, chunk) {
          rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
          const headEnd = rest.indexOf(HEAD_END);
          if (headEnd < 0) return;
          const head = rest.toString('latin1', 0, headEnd);
          const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
          if (rest.length < headEnd + 4 + length) return;
          rest = rest.subarray(headEnd + 4 + length);
          answers += 1;
          if (!head.startsWith('HTTP/1.1 200')) notOk += 1;
          if (running) ask(socket);
        },
      },
    });
  });
  setTimeout(() => {
    running = false;
    postMessage({ answers, notOk, seconds: (performance.now() - startedAt) / 1000 } satisfies HttpLoadResult);
    void Promise.all(sockets).then((all) => all.forEach((socket) => socket.end()));
  }, seconds * 1000);
};
