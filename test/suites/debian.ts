// Sources and programs out of Debian's archive, unpacked into a folder of their own: nothing on the machine is installed or
// configured, so it works for every user. PostgreSQL's own tests are only in the source package.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why something cannot be had here. */
export class Unavailable extends Error {}

/** Gives a folder that `make` has filled, made once per machine, user and name. Rejects with `Unavailable`. */
export async function madeOnce(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const base = join(tmpdir(), `skerry-suites-${process.getuid?.() ?? 0}`);
  const ready = join(base, name);
  if (existsSync(ready)) return ready;
  mkdirSync(base, { recursive: true });
  chmodSync(base, 0o755);
  const making = mkdtempSync(join(base, 'making-'));
  try {
    chmodSync(making, 0o755);
    await make(making);
    if (!existsSync(ready)) renameSync(making, ready);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return ready;
}

export class DebianArchive {
  readonly #folder: string;
  #updated = false;

  /** Lists and downloads are kept in `folder`. */
  constructor(folder: string) {
    this.#folder = folder;
    if (Bun.which('apt-get') === null) throw new Unavailable('this machine has no apt-get');
  }

  /** Unpacks a binary package into `to`. Any version when this one is no longer there. */
  async unpack(name: string, version: string | null, to: string): Promise<void> {
    await this.#update();
    const wanted = version === null ? [name] : [`${name}=${version}`, name];
    await this.#firstThatWorks(wanted, (one) => ['download', one]);
    const file = readdirSync(this.#folder).find((one) => one.startsWith(`${name}_`) && one.endsWith('.deb'));
    if (file === undefined) throw new Unavailable(`apt-get download ${name} left no file`);
    await run(['dpkg', '-x', join(this.#folder, file), to], this.#folder);
  }

  /** Downloads the original tarball of a source package; gives its path. */
  async source(name: string, versions: readonly string[]): Promise<string> {
    await this.#update();
    await this.#firstThatWorks(
      versions.map((version) => `${name}=${version}`),
      (one) => ['source', '--download-only', one],
    );
    const file = readdirSync(this.#folder).find((one) => one.startsWith(`${name}_`) && one.includes('.orig.tar'));
    if (file === undefined) throw new Unavailable(`apt-get source ${name} left no tarball`);
    return join(this.#folder, file);
  }

  /** Versions that the archive knows of a package, newest first; some may be gone already. */
  async versions(name: string): Promise<string[]> {
    await this.#update();
    const listed = await run(['apt-cache', ...this.#options(), 'madison', name], this.#folder);
    return [...new Set(listed.split('\n').map((line) => line.split('|')[1]?.trim() ?? ''))].filter((one) => one !== '');
  }

  async #firstThatWorks(names: readonly string[], command: (name: string) => string[]): Promise<void> {
    const reasons: string[] = [];
    for (const name of names) {
      try {
        await run(['apt-get', ...this.#options(), ...command(name)], this.#folder);
        return;
      } catch (error) {
        reasons.push(String((error as Error).message));
      }
    }
    throw new Unavailable(reasons.join('\n'));
  }

  async #update(): Promise<void> {
    if (this.#updated) return;
    const lists = join(this.#folder, 'lists');
    mkdirSync(join(lists, 'partial'), { recursive: true });
    mkdirSync(join(this.#folder, 'cache', 'archives', 'partial'), { recursive: true });
    const [oneLine, stanzas] = systemSources();
    // The extension says which of apt's two formats it is.
    await Bun.write(join(this.#folder, 'sources.list'), oneLine);
    await Bun.write(join(this.#folder, 'parts', 'debian.sources'), stanzas);
    try {
      await run(['apt-get', ...this.#options(), 'update'], this.#folder);
    } catch (error) {
      throw new Unavailable(`Debian's archive cannot be reached: ${(error as Error).message}`);
    }
    this.#updated = true;
  }

  #options(): string[] {
    const settings = {
      'Dir::Etc::sourcelist': join(this.#folder, 'sources.list'),
      'Dir::Etc::sourceparts': join(this.#folder, 'parts'),
      'Dir::State::lists': join(this.#folder, 'lists'),
      'Dir::Cache': join(this.#folder, 'cache'),
      // The folder is ours; apt's own user may not write into it.
      'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    };
    return ['-q', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  }
}

/** The machine's own places for packages, those of the distribution, with sources added. */
function systemSources(): [oneLine: string, stanzas: string] {
  const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  const folder = '/etc/apt/sources.list.d';
  const parts = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  const isDistribution = (text: string): boolean =>
    /debian\.org|ubuntu\.com|\/(?:debian|ubuntu)(?:-security)?\b/.test(text);
  const lines = ['/etc/apt/sources.list', ...parts.filter((path) => path.endsWith('.list'))]
    .flatMap((path) => read(path).split('\n'))
    .filter((line) => /^deb\s/.test(line) && isDistribution(line));
  const stanzas = parts
    .filter((path) => path.endsWith('.sources'))
    .flatMap((path) => read(path).split(/\n\s*\n/))
    .filter((stanza) => /^Types:/m.test(stanza) && isDistribution(stanza))
    .map((stanza) => stanza.replace(/^Types:.*$/m, 'Types: deb deb-src'));
  return [
    `${[...lines, ...lines.map((line) => line.replace(/^deb\s/, 'deb-src '))].join('\n')}\n`,
    `${stanzas.join('\n\n')}\n`,
  ];
}

/** Runs a command; gives what it prints. Rejects with what it complained about. */
export async function run(command: readonly string[], cwd: string): Promise<string> {
  const child = Bun.spawn([...command], { cwd, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${command.join(' ')}: exit code ${code}\n${err.trim() || out.trim()}`);
  return out;
}

/** The value, or null when it cannot be had here: then the reason is printed, and under CI it is a failure. */
export async function orSkip<T>(what: string, get: () => Promise<T>): Promise<T | null> {
  try {
    return await get();
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const text = `skipped: needs ${what}: ${error.message}`;
    if (process.env['CI'] === 'true') throw new Error(`${text}; CI must have it`);
    process.stderr.write(`${text}\n`);
    return null;
  }
}
