// Threads and child processes that talk by messages, on Bun's Worker and Bun's IPC.
// Between processes a message travels in an array of one, because Bun's `send` refuses a bare bigint or null.

import type { MessagePort, WorkerHandle, WorkerSpawner } from '../base/worker.ts';

declare const self: { onmessage: ((event: MessageEvent) => void) | null };
declare function postMessage(message: unknown): void;

/** Buffers what arrives until somebody replaces `onMessage`. */
class Inbox<Receive> {
  #handler: ((message: Receive) => void) | null = null;
  #early: Receive[] = [];

  deliver(message: Receive): void {
    if (this.#handler === null) this.#early.push(message);
    else this.#handler(message);
  }

  get handler(): (message: Receive) => void {
    return this.#handler ?? ((message) => this.#early.push(message));
  }

  set handler(handler: (message: Receive) => void) {
    this.#handler = handler;
    const early = this.#early;
    this.#early = [];
    for (const message of early) handler(message);
  }
}

export const bunWorkers: WorkerSpawner = {
  thread<Send, Receive>(entry: URL): WorkerHandle<Send, Receive> {
    const inbox = new Inbox<Receive>();
    const worker = new Worker(entry.href);
    let reason = 'ended';
    const exited = new Promise<string>((resolve) => {
      worker.addEventListener('close', () => resolve(reason));
      worker.addEventListener('error', (event) => {
        reason = `failed: ${event.message}`;
        // Bun closes a worker that failed while loading, but not one that threw later: to its owner both are gone.
        worker.terminate();
        resolve(reason);
      });
    });
    worker.addEventListener('message', (event) => inbox.deliver(event.data as Receive));
    return {
      exited,
      post: (message) => worker.postMessage(message),
      get onMessage() {
        return inbox.handler;
      },
      set onMessage(handler) {
        inbox.handler = handler;
      },
      async kill() {
        reason = 'was ended by its owner';
        worker.terminate();
        await exited;
      },
      async [Symbol.asyncDispose]() {
        await this.kill();
      },
    };
  },

  process<Send, Receive>(entry: URL, args: readonly string[] = []): WorkerHandle<Send, Receive> {
    const inbox = new Inbox<Receive>();
    const child = Bun.spawn([process.execPath, Bun.fileURLToPath(entry), ...args], {
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
      serialization: 'advanced',
      ipc: (envelope) => inbox.deliver((envelope as [Receive])[0]),
    });
    const exited = child.exited.then(() =>
      child.signalCode === null ? `ended with code ${child.exitCode}` : `was killed by ${child.signalCode}`,
    );
    return {
      exited,
      post(message) {
        try {
          child.send([message]);
        } catch (error) {
          // The channel is closed as soon as the child is dead; its owner learns from `exited`, a moment later.
          if ((error as { code?: string }).code !== 'ERR_IPC_CHANNEL_CLOSED') throw error;
        }
      },
      get onMessage() {
        return inbox.handler;
      },
      set onMessage(handler) {
        inbox.handler = handler;
      },
      async kill() {
        child.kill('SIGKILL');
        await exited;
      },
      async [Symbol.asyncDispose]() {
        await this.kill();
      },
    };
  },
};

/** The inner end, for the module that was started: the same in a thread and in a process. A process ends when its owner is gone. */
export function parentPort<Send, Receive>(): MessagePort<Send, Receive> {
  const inbox = new Inbox<Receive>();
  const send = process.send?.bind(process);
  if (Bun.isMainThread && send !== undefined) {
    process.on('message', (envelope) => inbox.deliver((envelope as [Receive])[0]));
    process.on('disconnect', () => process.exit(0));
  } else {
    self.onmessage = (event) => inbox.deliver(event.data as Receive);
  }
  return {
    post: (message) => (Bun.isMainThread && send !== undefined ? void send([message]) : postMessage(message)),
    get onMessage() {
      return inbox.handler;
    },
    set onMessage(handler) {
      inbox.handler = handler;
    },
  };
}
