// PostgreSQL's own regression and isolation tests, of the version that is installed: files from the source package, the
// programs that run them from the server package, and the C libraries they need, compiled here.

import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findAllPostgres, type PostgresPrograms } from '../../src/runtime/postgres.ts';
import { DebianArchive, madeOnce, run, Unavailable } from './debian.ts';

export interface PostgresTests {
  readonly programs: PostgresPrograms;
  /** Folder with sql, expected, data, parallel_schedule and the libraries. */
  readonly regress: string;
  /** Folder with specs, expected and isolation_schedule. */
  readonly isolation: string;
  readonly pgRegress: string;
  readonly pgIsolationRegress: string;
}

const MAJOR = 15;

/** Downloads and builds them at the first call. Rejects with `Unavailable`. */
export async function postgresTests(): Promise<PostgresTests> {
  const programs = findAllPostgres().find((one) => one.major === MAJOR);
  if (programs === undefined) throw new Unavailable(`no PostgreSQL ${MAJOR} (apt install postgresql-${MAJOR})`);
  const built = join(programs.bindir, '..', 'lib', 'pgxs', 'src', 'test');
  const pgRegress = join(built, 'regress', 'pg_regress');
  if (!existsSync(pgRegress)) throw new Unavailable(`${pgRegress} is missing: not Debian's package`);
  if (Bun.which('gcc') === null) throw new Unavailable('no gcc (apt install gcc libc6-dev)');
  const version = await installedVersion();
  const folder = await madeOnce(`postgresql-${version}`, (at) => fetchAndBuild(at, version));
  return {
    programs,
    regress: join(folder, 'regress'),
    isolation: join(folder, 'isolation'),
    pgRegress,
    pgIsolationRegress: join(built, 'isolation', 'pg_isolation_regress'),
  };
}

async function installedVersion(): Promise<string> {
  try {
    return (await run(['dpkg-query', '-W', '-f', '${Version}', `postgresql-${MAJOR}`], '/')).trim();
  } catch (error) {
    throw new Unavailable(`not Debian's package: ${(error as Error).message}`);
  }
}

async function fetchAndBuild(folder: string, version: string): Promise<void> {
  const scratch = join(folder, 'scratch');
  mkdirSync(scratch);
  const archive = new DebianArchive(scratch);
  // A security update takes the version before it out of the archive: then its neighbour's tests must do.
  const versions = [version, ...(await archive.versions(`postgresql-${MAJOR}`)).filter((one) => one !== version)];
  const tarball = await archive.source(`postgresql-${MAJOR}`, versions);
  const wanted = ['src/test/regress', 'src/test/isolation', 'contrib/spi'];
  await run(['tar', 'xf', tarball, '--strip-components=1', '--wildcards', ...wanted.map((one) => `*/${one}`)], scratch);
  await archive.unpack(`postgresql-server-dev-${MAJOR}`, version, join(scratch, 'dev'));
  const tests = join(scratch, 'src', 'test');
  const headers = join(scratch, 'dev', 'usr', 'include', 'postgresql');
  const spi = join(scratch, 'contrib', 'spi');
  for (const library of [join(tests, 'regress', 'regress'), join(spi, 'autoinc'), join(spi, 'refint')]) {
    const target = join(tests, 'regress', `${basename(library)}.so`);
    const include = [`-I${join(headers, String(MAJOR), 'server')}`, `-I${headers}`];
    // As PostgreSQL's makefiles do: the expected output knows what refint says.
    await run(
      ['gcc', '-shared', '-fPIC', '-O1', '-w', '-DREFINT_VERBOSE', ...include, `${library}.c`, '-o', target],
      scratch,
    );
  }
  await run(['mv', join(tests, 'regress'), join(tests, 'isolation'), folder], folder);
  await run(['rm', '-rf', scratch], folder);
  // The server's user reads them.
  await run(['chmod', '-R', 'a+rX', folder], folder);
}
