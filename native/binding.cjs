'use strict';
// Loads the addon: build/Release first, then a prebuilt binary of the package. MASK_PREDICT_PREBUILD names another root.
const path = require('node:path');
const root = path.join(__dirname, '..');
try {
  module.exports = require('node-gyp-build')(root);
} catch (cause) {
  const error = new Error(
    [
      `mask-predict has no native addon for ${process.platform}-${process.arch}, Node.js ${process.version}: ${cause.message.split('\n')[0]}`,
      'It is built when the package is installed, unless install scripts are blocked. To build it now:',
      '  npm 12:    npm install-scripts approve mask-predict && npm rebuild mask-predict',
      '  npm <= 11: npm rebuild mask-predict',
      '  pnpm:      pnpm approve-builds',
      `  anywhere:  node ${path.join(__dirname, 'build.cjs')}`,
      'A C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make).',
    ].join('\n'),
    { cause },
  );
  error.code = 'ERR_DEVICE';
  throw error;
}
