// Runs before every npm script: installs the dependencies when node_modules is not what package-lock.json says, else does
// nothing, in milliseconds. Plain Node without dependencies, in syntax that even an old Node can read far enough to be told
// that it is too old.

import { spawnSync } from 'child_process';
import { createHash } from 'crypto';
import { existsSync, lstatSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'fs';
import { dirname, join } from 'path';
import { fileURLToPath } from 'url';

const NODE_MAJOR_MIN = 20;
// Five times a second: whoever waits for another's install has nothing else to do.
const LOCK_POLL_MS = 200;
// The file that npm leaves until bun's install script has put the real program in its place is smaller than this.
const BUN_BYTES_MIN = 1000000;

const root = process.env.SKERRY_ENSURE_ROOT || dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.skerry-lock');
const lockFile = join(root, '.skerry-installing');

main();

function main() {
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
    fail(
      'Skerry needs Node ' +
        NODE_MAJOR_MIN +
        ' or newer to install itself; this is Node ' +
        process.versions.node +
        '.',
    );
  }
  // A linked node_modules belongs to another checkout, which keeps it.
  if (isLink(modules)) return;
  const wanted = stampOf();
  if (isCurrent(wanted)) return;
  takeLock();
  try {
    if (isCurrent(wanted)) return; // Another start did it while we waited.
    if (!installedByHand()) install();
    checkBun();
    writeFileSync(stampFile, wanted + '\n');
  } finally {
    unlinkSync(lockFile);
  }
}

/** What node_modules must have been made from: the lockfile, on this kind of machine. */
function stampOf() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return createHash('sha256')
    .update(lock)
    .update(process.platform + '-' + process.arch)
    .digest('hex');
}

function isCurrent(wanted) {
  try {
    return readFileSync(stampFile, 'utf8').trim() === wanted;
  } catch {
    return false;
  }
}

/** True when somebody ran `npm ci` themselves: npm's own record in node_modules names every package of the lockfile. */
function installedByHand() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    const present = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8')).packages;
    return Object.keys(wanted).every((path) => {
      if (path === '') return true;
      if (present[path] === undefined)
        return wanted[path].optional === true && wanted[path].os !== undefined && !isForUs(wanted[path]);
      return present[path].version === wanted[path].version;
    });
  } catch {
    return false;
  }
}

function isForUs(entry) {
  const fits = (list, value) => list === undefined || list.indexOf(value) !== -1;
  return fits(entry.os, process.platform) && fits(entry.cpu, process.arch);
}

function install() {
  const why = existsSync(modules)
    ? 'package-lock.json changed since node_modules was installed'
    : 'node_modules is not there yet';
  process.stderr.write('skerry: ' + why + '; running npm ci\n');
  // npm tells its scripts which npm it is; a script started by hand takes the one on the PATH.
  const own = process.env.npm_execpath || '';
  const command = /npm-cli\.[cm]?js$/.test(own) ? [process.execPath, own] : ['npm'];
  // The tests need the development packages, and the embedded Postgres is an optional one, whatever this user's npm leaves out.
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional'];
  const run = spawnSync(command[0], command.slice(1).concat(args), {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  if (run.error) fail('npm could not be started (' + run.error.message + '); install npm, or run `npm ci` by hand.');
  if (run.status !== 0) {
    fail(
      'npm ci failed:\n' +
        (run.stderr + run.stdout).trim() +
        '\nCheck the network and the registry (npm config get registry), then try again.',
    );
  }
}

function checkBun() {
  const bun = join(modules, 'bun', 'bin', 'bun.exe');
  let size = 0;
  try {
    size = statSync(bun).size;
  } catch {}
  if (size < BUN_BYTES_MIN) {
    fail(
      'npm ci ran, but bun has no program in node_modules: this npm does not run install scripts (npm config get ignore-scripts). Run: npm rebuild --ignore-scripts=false',
    );
  }
}

/** One installer at a time: npm ci empties node_modules first, also below a process that uses it. */
function takeLock() {
  for (;;) {
    try {
      writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if (error.code !== 'EEXIST')
        fail(
          'cannot write ' + lockFile + ' (' + error.message + '); the checkout must be writable for the first start.',
        );
    }
    if (!holderLives()) {
      try {
        unlinkSync(lockFile);
      } catch {}
    } else {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS);
    }
  }
}

function holderLives() {
  try {
    const pid = Number(readFileSync(lockFile, 'utf8'));
    if (pid === 0) return true; // Just made, not yet written.
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function isLink(path) {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

function fail(text) {
  process.stderr.write('skerry: ' + text + '\n');
  try {
    if (readFileSync(lockFile, 'utf8') === String(process.pid)) unlinkSync(lockFile);
  } catch {}
  process.exit(1);
}
