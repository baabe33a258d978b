// The edge role: stub until its parts exist.

import type { Config } from '../config/options.ts';
import { runRole } from './role.ts';

export function runEdge(config: Config): Promise<number> {
  return runRole(config, (log) => {
    log.info('edge.started', {});
    return Promise.resolve({
      facts: { role: 'edge' },
      ended: new Promise<void>(() => {}),
      stop: () => Promise.resolve(),
    });
  });
}
