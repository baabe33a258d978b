// Settings of a session: what they become, what takes them back, what the core must be told.

import { describe, expect, test } from 'bun:test';
import { BUILT_IN_SETTINGS, SessionSettings, type SettingsOwner, splitIdentifiers } from './settings.ts';
import {
  NEED_BYTEA_HEX,
  NEED_DATESTYLE_ISO,
  NEED_FLOAT_SHORTEST,
  NEED_INTERVALSTYLE_POSTGRES,
  NEED_TIMEZONE_UTC,
} from './sql/plan.ts';

const OWNER: SettingsOwner = {
  user: 'app',
  version: 1,
  defaults: () => BUILT_IN_SETTINGS,
  hasSchema: (name) => name !== 'missing' && name !== 'app',
};

function session(startup: Record<string, string> = {}): SessionSettings {
  const settings = new SessionSettings(OWNER);
  settings.start(startup);
  return settings;
}

describe('SET', () => {
  /** Sets `name` and shows it; null when only the core can judge it. */
  const check = (name: string, values: readonly string[], expected: string | null): void => {
    const settings = session();
    expect(settings.set(name, values, false) ? settings.get(name) : null).toBe(expected as string);
  };

  test('values become what SHOW prints', () => {
    check('DateStyle', ['German'], 'German, DMY');
    check('datestyle', ['SQL', 'european'], 'SQL, DMY');
    check('datestyle', ['ISO, YMD'], 'ISO, YMD');
    check('statement_timeout', ['90000'], '90s');
    check('statement_timeout', ['1min'], '1min');
    check('statement_timeout', ['1500ms'], '1500ms');
    check('statement_timeout', ['0'], '0');
    check('extra_float_digits', ['3'], '3');
    check('timezone', ['utc'], 'UTC');
    check('timezone', ['Europe/Berlin'], 'Europe/Berlin');
    check('client_encoding', ['utf-8'], 'UTF8');
    check('client_encoding', ['UNICODE'], 'UTF8');
    check('search_path', ['a', 'Odd "one"', '$user'], 'a, "Odd ""one""", "$user"');
    check('standard_conforming_strings', ['TRUE'], 'on');
    check('application_name', ['psql'], 'psql');
  });

  test('what is not understood is left to the core', () => {
    check('extra_float_digits', ['4'], null);
    check('timezone', ['Mars/Phobos'], null);
    check('timezone', ['+02'], null);
    check('datestyle', ['sideways'], null);
    check('client_encoding', ['LATIN1'], null);
    check('statement_timeout', ['-1'], null);
    check('application_name', ['Zoë'], null);
    check('work_mem', ['1MB'], null);
  });
});

test('needs follow the settings', () => {
  const settings = session({ timezone: 'UTC' });
  expect(settings.needsBroken).toBe(0);
  settings.set('timezone', ['Europe/Berlin'], false);
  expect(settings.needsBroken).toBe(NEED_TIMEZONE_UTC);
  settings.set('timezone', ['Etc/UTC'], false);
  settings.set('datestyle', ['SQL'], false);
  settings.set('intervalstyle', ['iso_8601'], false);
  settings.set('extra_float_digits', ['0'], false);
  settings.set('bytea_output', ['escape'], false);
  expect(settings.needsBroken).toBe(
    NEED_DATESTYLE_ISO | NEED_INTERVALSTYLE_POSTGRES | NEED_FLOAT_SHORTEST | NEED_BYTEA_HEX,
  );
});

test('a block’s SETs go with a rollback, its SET LOCALs with any end', () => {
  const settings = session({ application_name: 'start' });
  settings.begin();
  settings.set('application_name', ['local'], true);
  settings.set('timezone', ['UTC'], false);
  expect([settings.get('application_name'), settings.get('timezone')]).toEqual(['local', 'UTC']);
  settings.end(true);
  expect([settings.get('application_name'), settings.get('timezone')]).toEqual(['start', 'UTC']);
  settings.begin();
  settings.set('application_name', ['gone'], false);
  settings.end(false);
  expect(settings.get('application_name')).toBe('start');
});

test('RESET goes back to what the client started with', () => {
  const settings = session({ DateStyle: 'SQL' });
  settings.set('datestyle', ['German'], false);
  settings.set('datestyle', null, false);
  expect(settings.get('DateStyle')).toBe('SQL, MDY');
  settings.set('extra_float_digits', ['0'], false);
  settings.resetAll();
  expect(settings.get('extra_float_digits')).toBe('1');
});

test('search_path leaves out what does not exist and stands in for "$user"', () => {
  const settings = session();
  expect(settings.planning.searchPath).toEqual(['public']);
  settings.set('search_path', ['missing', 'Other', 'public'], false);
  expect(settings.planning.searchPath).toEqual(['Other', 'public']);
  expect(session({ search_path: '"A b", c' }).planning.searchPath).toEqual(['A b', 'c']);
});

test('the core is told what differs from what it knows, once', () => {
  const settings = session({ application_name: 'app' });
  settings.upstreamOpened();
  expect(settings.catchUpSql()).toBeNull();
  settings.set('timezone', ['UTC'], false);
  settings.set('search_path', ["o'odd"], false);
  expect(settings.catchUpSql()).toBe(
    `SELECT pg_catalog.set_config('timezone', 'UTC', false); SELECT pg_catalog.set_config('search_path', '"o''odd"', false)`,
  );
  expect(settings.catchUpSql()).toBeNull();
  settings.set('timezone', null, false);
  expect(settings.catchUpSql()).toBe('RESET "timezone"');
});

test('SETs of an open block are repeated after its BEGIN, not before', () => {
  const settings = session();
  settings.set('timezone', ['UTC'], false);
  settings.begin();
  settings.set('application_name', ['inside'], true);
  settings.upstreamOpened();
  expect(settings.catchUpSql()).toBe("SELECT pg_catalog.set_config('timezone', 'UTC', false)");
  expect(settings.transactionSql()).toBe("SELECT pg_catalog.set_config('application_name', 'inside', true)");
});

test('identifiers of a list', () => {
  expect(splitIdentifiers('"$user", public')).toEqual(['$user', 'public']);
  expect(splitIdentifiers(' a ,"B ""c"", d" , E')).toEqual(['a', 'B "c", d', 'e']);
  expect(splitIdentifiers('')).toEqual([]);
  expect(splitIdentifiers('""')).toEqual([]);
});
