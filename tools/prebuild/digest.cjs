'use strict';
// One text for everything a prebuilt binary is made from: a binary of another text is out of date.
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '../..');

function sourcesDigest() {
  const native = fs
    .readdirSync(path.join(root, 'native'), { recursive: true })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => /\.(cpp|h|json|cmake|map)$/.test(name) && !/^(simt|cuda)\//.test(name))
    .map((name) => `native/${name}`)
    .sort();
  const hash = createHash('sha256');
  for (const name of [
    'CMakeLists.txt',
    'tools/prebuild/packages.json',
    'tools/prebuild/old_glibc_stat.cpp',
    ...native,
  ])
    hash
      .update(`${name}\0`)
      .update(fs.readFileSync(path.join(root, name)))
      .update('\0');
  return hash.digest('hex');
}

module.exports = { sourcesDigest };
