// The relay role: stub until its parts exist.

import type { Config } from '../config/options.ts';
import { runRole } from './role.ts';

export function runRelay(config: Config): Promise<number> {
  return runRole(config, (log) => {
    log.info('relay.started', {});
    return Promise.resolve({
      facts: { role: 'relay' },
      ended: new Promise<void>(() => {}),
      stop: () => Promise.resolve(),
    });
  });
}
