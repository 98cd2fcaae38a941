'use strict';
// Compilers and other systems' Node.js, which are no dependencies: packages.json names them by name, version and integrity,
// and they are fetched from npm's registry, as npm is configured, when something needs them. They are kept in
// $MASK_PREDICT_TOOLS, by default ~/.cache/mask-predict-tools.
const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const packages = require('./packages.json');

const cacheFolder =
  process.env.MASK_PREDICT_TOOLS ||
  path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'mask-predict-tools');

function run(command, args, what) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${what} failed: ${error?.message ?? stderr}`);
  return stdout;
}

/** Throws unless the file has the sha512 that packages.json says. */
function checkIntegrity(file, { name, version, integrity }) {
  const found = `sha512-${createHash('sha512').update(fs.readFileSync(file)).digest('base64')}`;
  if (found !== integrity)
    throw new Error(
      `${name}@${version} is not what packages.json says: ${found} instead of ${integrity}`,
    );
}

/** The folder of a package of packages.json, fetched if it is not in the cache. */
function packageFolder(key) {
  const wanted = packages[key];
  const spec = `${wanted.name}@${wanted.version}`;
  // Its name says what is in it: whatever is there under this name was checked.
  const digest = createHash('sha256').update(wanted.integrity).digest('hex').slice(0, 12);
  const folder = path.join(cacheFolder, `${key}-${wanted.version}-${digest}`);
  if (fs.existsSync(folder)) return folder;
  fs.mkdirSync(cacheFolder, { recursive: true });
  const temporary = fs.mkdtempSync(path.join(cacheFolder, '.fetch-'));
  try {
    console.error(`mask-predict: fetching ${spec} into ${cacheFolder}`);
    run('npm', ['pack', spec, '--pack-destination', temporary, '--silent'], `npm pack ${spec}`);
    const archive = path.join(
      temporary,
      fs.readdirSync(temporary).find((name) => name.endsWith('.tgz')),
    );
    checkIntegrity(archive, wanted);
    const content = path.join(temporary, 'content');
    fs.mkdirSync(content);
    run('tar', ['-xzf', archive, '-C', content, '--strip-components=1'], `unpacking ${spec}`);
    moveInto(content, folder);
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
  return folder;
}

/** Another process may have fetched the same meanwhile. */
function moveInto(content, folder) {
  try {
    fs.renameSync(content, folder);
  } catch (error) {
    if (!fs.existsSync(folder)) throw error;
  }
}

module.exports = { cacheFolder, checkIntegrity, packageFolder, packages };
