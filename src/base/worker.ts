// The seam to code that runs beside us, in a thread or in a process, and talks by messages. `runtime/worker.ts` implements it.
// Messages are structured clones: plain data, bigint, Uint8Array, Map; no functions.

/** One end of a conversation. */
export interface MessagePort<Send, Receive> {
  post(message: Send): void;
  /** Replace to receive; messages that come before are kept. */
  onMessage: (message: Receive) => void;
}

/** The owner's end. */
export interface WorkerHandle<Send, Receive> extends MessagePort<Send, Receive>, AsyncDisposable {
  /** Resolves, with a sentence, when the worker is gone, by whatever reason. Never rejects. */
  readonly exited: Promise<string>;
  /** Ends it at once. A thread cannot be ended inside a native call (a SQLite statement): use a process for those. */
  kill(): Promise<void>;
}

export interface WorkerSpawner {
  /** Starts the module at `entry` (a file URL) as a thread of this process: cheap messages, shared fate. */
  thread<Send, Receive>(entry: URL): WorkerHandle<Send, Receive>;
  /** Starts it as a child process that can be killed at any point, and that ends when we end. */
  process<Send, Receive>(entry: URL, args?: readonly string[]): WorkerHandle<Send, Receive>;
}
