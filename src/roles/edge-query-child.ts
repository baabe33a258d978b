// Entry of the child processes in which an edge runs statements that may scan.

import { serveSlowLane } from '../edge/slow-lane-child.ts';
import { parentPort } from '../runtime/worker.ts';

serveSlowLane(parentPort());
