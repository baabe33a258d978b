// Entry of the Worker that applies the stream to a replica, for relays and edges alike.

import { bunHttp } from '../runtime/http.ts';
import { createClock } from '../runtime/clock.ts';
import { createCrypto } from '../runtime/crypto.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { createNet } from '../runtime/net.ts';
import { zstdPacker } from '../runtime/pack.ts';
import { createRandom } from '../runtime/random.ts';
import { parentPort } from '../runtime/worker.ts';
import { type FromReplica, serveReplica, type ToReplica } from '../stream/replica-host.ts';

serveReplica(parentPort<FromReplica, ToReplica>(), (log) => ({
  clock: createClock(),
  crypto: createCrypto(),
  random: createRandom(),
  net: createNet(),
  disk: nodeDisk,
  http: bunHttp,
  packer: zstdPacker,
  log,
}));
