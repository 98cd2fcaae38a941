'use strict';
// The systems that the package has a binary for. `file` is where node-gyp-build looks for it: in prebuilds/PLATFORM-ARCH,
// with the C library in the name where there are two.
//
// `zig` is its name to the compiler with the oldest C library the binary may meet: glibc 2.17 is of 2012, and Node.js 20
// asks for 2.28. `floor` is what tools/prebuild/check.cjs demands.
const floor = { GLIBC: '2.28', GLIBCXX: '3.4.25' };

const targets = [
  ['linux-x64', 'x86_64-linux-gnu.2.17', 'Linux', 'x86_64', 'linux-x64/mask-predict.glibc.node'],
  ['linux-x64-musl', 'x86_64-linux-musl', 'Linux', 'x86_64', 'linux-x64/mask-predict.musl.node'],
  [
    'linux-arm64',
    'aarch64-linux-gnu.2.17',
    'Linux',
    'aarch64',
    'linux-arm64/mask-predict.glibc.node',
  ],
  [
    'linux-arm64-musl',
    'aarch64-linux-musl',
    'Linux',
    'aarch64',
    'linux-arm64/mask-predict.musl.node',
  ],
  ['win32-x64', 'x86_64-windows-gnu', 'Windows', 'AMD64', 'win32-x64/mask-predict.node'],
  ['darwin-arm64', 'aarch64-macos', 'Darwin', 'arm64', 'darwin-arm64/mask-predict.node'],
  ['darwin-x64', 'x86_64-macos', 'Darwin', 'x86_64', 'darwin-x64/mask-predict.node'],
].map(([name, zig, system, processor, file]) => ({ name, zig, system, processor, file }));

module.exports = { floor, targets };
