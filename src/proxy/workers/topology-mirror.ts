// A topology that somebody else finds out (the parent, for all workers), as a source in this process.

import type { Topology, TopologySource } from '../../contracts/topology.ts';

export class TopologyMirror implements TopologySource {
  #topology: Topology;
  readonly #subscribers = new Set<(topology: Topology) => void>();

  constructor(first: Topology) {
    this.#topology = first;
  }

  current(): Topology {
    return this.#topology;
  }

  subscribe(changed: (topology: Topology) => void): Disposable {
    this.#subscribers.add(changed);
    return { [Symbol.dispose]: () => void this.#subscribers.delete(changed) };
  }

  /** What came late is left out: a proxy never goes back to a lower term (I6). */
  set(topology: Topology): void {
    if (topology.term < this.#topology.term) return;
    this.#topology = topology;
    for (const changed of this.#subscribers) changed(topology);
  }
}
