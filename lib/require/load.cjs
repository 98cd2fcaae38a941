'use strict';
// require('mask-predict'). The package is made of ES modules, which Node.js requires like any other; a loader that cannot,
// such as Jest's, is named in the error.
module.exports = function load(requireModule) {
  try {
    return requireModule();
  } catch (cause) {
    if (cause?.name !== 'SyntaxError' && cause?.code !== 'ERR_REQUIRE_ESM') throw cause;
    const error = new Error(
      'mask-predict is an ES module, and this loader cannot require one. Node.js can, from 20.19 and 22.12 on. In Jest, start it with ' +
        'NODE_OPTIONS=--experimental-vm-modules and import the package: `import` in a test that is an ES module, `await ' +
        "import('mask-predict')` in any other",
      { cause },
    );
    error.code = 'ERR_REQUIRE_ESM';
    throw error;
  }
};
