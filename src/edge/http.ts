// The HTTP side of an edge: GET /healthz, /status, /metrics, /checksum.

import type { Clock } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import type { ChecksumReport, RoleStatus, TableChecksum } from '../contracts/health.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Metrics } from '../observe/metrics.ts';
import { formatLsn } from '../pg/lsn.ts';
import { checksumTable } from '../replica/checksum.ts';
import { isStored } from '../replica/layout.ts';
import { ReplicaReader } from '../replica/reader.ts';

export interface HttpHandlerDeps {
  readonly name: string;
  readonly version: string;
  readonly feed: ReplicaFeed;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly answered: () => { readonly local: number; readonly forwarded: number };
  readonly stopping: () => boolean;
  readonly pid?: number;
}

export function createHttpHandler(deps: HttpHandlerDeps): (request: Request) => Promise<Response> {
  return async (request) => {
    const { pathname } = new URL(request.url);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return problem(405, 'method-not-allowed', `${request.method} is not possible here`);
    }
    switch (pathname) {
      case '/healthz':
        return healthz(deps);
      case '/status':
        return Response.json(edgeStatus(deps));
      case '/metrics':
        return new Response(deps.metrics.render(), {
          headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
        });
      case '/checksum':
        return await checksum(deps);
      default:
        return problem(404, 'not-found', `no such page: ${pathname}; there are /healthz, /status, /metrics, /checksum`);
    }
  };
}

export function edgeStatus(deps: HttpHandlerDeps): RoleStatus {
  const { feed } = deps;
  const { state, reason, epoch, position, upstreamPosition, rows, tables } = feed.current;
  const lagMs = feed.lagMs();
  return {
    role: 'edge',
    name: deps.name,
    pid: deps.pid ?? 0,
    version: deps.version,
    state: deps.stopping() ? 'stopping' : state,
    reason,
    epoch,
    position: formatLsn(position),
    upstreamPosition: formatLsn(upstreamPosition),
    // JSON has no infinity.
    lagMs: Number.isFinite(lagMs) ? Math.round(lagMs) : Number.MAX_SAFE_INTEGER,
    lagBytes: Math.max(0, Number(upstreamPosition - position)),
    rows,
    tables,
    answered: { ...deps.answered() },
    subscribers: [],
  };
}

/** 200 while reads are answered, however old the replica is: restarting an edge because the core is away would help nobody. */
function healthz(deps: HttpHandlerDeps): Response {
  const { state, reason } = deps.feed.current;
  const ready = (state === 'streaming' || state === 'lost') && !deps.stopping();
  return Response.json({ ready, state, reason }, { status: ready ? 200 : 503 });
}

async function checksum(deps: HttpHandlerDeps): Promise<Response> {
  const { feed, clock, crypto } = deps;
  const { state } = feed.current;
  if (state === 'starting' || state === 'bootstrapping') {
    return problem(503, 'replica-not-ready', 'the first snapshot has not arrived yet');
  }
  // A connection of its own: its snapshot stays open over many turns of the event loop.
  using reader = new ReplicaReader(feed.path);
  const { position } = reader.begin();
  const tables: TableChecksum[] = [];
  for (const image of reader.catalogue().tables()) {
    const layout = isStored(image) ? reader.layout(image.oid) : null;
    if (layout === null) continue;
    const steps = checksumTable(reader.sqlite, layout, crypto);
    for (;;) {
      const step = steps.next();
      if (step.done === true) {
        tables.push(step.value);
        break;
      }
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
  }
  reader.end();
  tables.sort((a, b) => (a.table < b.table ? -1 : 1));
  const report: ChecksumReport = { name: deps.name, epoch: position.epoch, position: formatLsn(position.lsn), tables };
  return Response.json(report);
}

function problem(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}
