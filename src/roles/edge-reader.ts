// Entry of the further processes of an edge that has several readers: serves clients from the replica that the edge's own process
// applies, on the same port.

import { describeError } from '../base/fault.ts';
import { createEdge } from '../edge/edge.ts';
import { type FromReader, serveReader, type ToReader } from '../edge/readers.ts';
import { createLog } from '../observe/log.ts';
import { ToldFeed } from '../replica/told-feed.ts';
import { createClock } from '../runtime/clock.ts';
import { exit, ignoreStopSignals, terminal } from '../runtime/process.ts';
import { parentPort } from '../runtime/worker.ts';
import { edgeDeps, edgeOptions, type ReaderSetup, replicaPath } from './edge.ts';
import { readRoleTls } from './tls.ts';

// Ctrl-C reaches the whole process group; the edge's own process says when to stop.
ignoreStopSignals();

serveReader<ReaderSetup>(parentPort<FromReader, ToReader<ReaderSetup>>(), (config, port, cancelElsewhere) => {
  const clock = createClock();
  const log = createLog({
    level: config.log.level,
    format: config.log.format,
    wall: () => clock.wall(),
    sink: (line) => terminal.writeError(`${line}\n`),
  });
  const feed = new ToldFeed(clock, replicaPath(config));
  const edge = createEdge(
    {
      ...edgeDeps(clock, log, feed),
      checksum: () => Promise.reject(new Error('checksums are made by the process that applies')),
      cancelElsewhere,
    },
    { ...edgeOptions(config, readRoleTls('edge', config.edge, clock)), port, httpPort: null },
  );
  return { edge, tell: (state, ageMs) => feed.tell(state, ageMs) };
}).then(
  () => exit(0),
  (error: unknown) => {
    terminal.writeError(`edge reader: ${describeError(error)}\n`);
    return exit(1);
  },
);
